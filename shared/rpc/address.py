"""The address of a node: what of it may be shown, and what is secret."""

from dataclasses import dataclass, field

from yarl import URL

from shared import errors

SHORTEST_SECRET = 4


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node is. Providers put keys into the path, the query or the user part, so only `shown` may be shown."""

    url: str = field(repr=False)
    shown: str
    secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "Address":
        wrong = errors.SettingError("CHAINTRUE_RPC__URLS: an address is not of the form http(s)://host[:port]/path")
        try:
            url = URL(text)
            shown = str(url.origin())
        except ValueError:
            raise wrong from None
        if url.scheme not in {"http", "https"} or not url.host:
            raise wrong
        parts = {
            url.raw_user,
            url.user,
            url.raw_password,
            url.password,
            *url.query.values(),
            *url.parts,
            *url.raw_parts,
        }
        secrets = {part for part in parts if part and len(part) >= SHORTEST_SECRET}
        return cls(text, shown, tuple(sorted(secrets, key=len, reverse=True)))

    def mask(self, text: str) -> str:
        """`text`, which a node wrote, without what the address keeps secret."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text
