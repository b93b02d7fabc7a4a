"""The one reading of an HTTP address in the settings: of a node, a webhook, a Pushgateway. Pure; nothing of it is quoted."""

from shared import address_text

SCHEMES = ("http://", "https://")
_FORM = "write https://host:port/path"


def check(text: str) -> None:
    """Raise ValueError, with a hint, for an address that is none, or that two readers could read differently.

    A fragment is never sent, so a # is the rest of a key or password that was not URL-encoded.
    """
    scheme = next((scheme for scheme in SCHEMES if text.startswith(scheme)), None)
    if scheme is None:
        raise ValueError(f"does not begin with http:// or https://: {_FORM}")
    user_info, host, tail = address_text.split(text.removeprefix(scheme))
    if "\\" in text:  # browsers and their like take it for a slash
        raise ValueError("has a backslash: write it as %5C")
    address_text.user_and_password(user_info)
    if not host:
        raise ValueError(f"names no host behind http:// or https://: {_FORM}")
    if "," in host:
        raise ValueError(f"has several hosts: {_FORM}, one address for each")
    address_text.host_and_port(host)
    address_text.decoded(tail, "path or query")
