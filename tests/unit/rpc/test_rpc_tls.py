"""https: whom the client trusts, and what it says of a certificate that it does not."""

from datetime import timedelta

import pytest

from shared import errors, rpc
from shared.rpc.transport import Transport
from tests import tls_front
from tests.certificates import Authority


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path, "one")


async def test_a_private_authority_is_trusted_when_it_is_named(start, connect, stack, authority):
    node = await start()
    url = await stack.enter_async_context(tls_front.https(node.url, authority.issue("node")))
    client = await connect(url, ca_file=authority.certificate)
    assert (await client.check()).node == url
    assert node.asked["getNetwork"] == 1


@pytest.mark.parametrize(
    ("named", "shown", "words"),
    [
        (None, {}, "unable to get local issuer certificate"),
        ("other", {}, "unable to get local issuer certificate"),
        ("one", {"age": timedelta(days=30)}, "certificate has expired"),
        ("one", {"names": ("rpc.example",)}, "IP address mismatch"),
    ],
)
async def test_a_certificate_that_is_not_trusted_is_told_at_once(
    start, connect, stack, authority, tmp_path, named, shown, words
):
    authorities = {None: None, "one": authority.certificate, "other": Authority(tmp_path, "other").certificate}
    node = await start()
    url = await stack.enter_async_context(tls_front.https(node.url, authority.issue("node", **shown)))
    outcomes = []
    client = await connect(
        f"{url}/s3cret-key",
        ca_file=authorities[named],
        on_request=lambda _method, outcome: outcomes.append(outcome),
    )
    with pytest.raises(errors.RpcRefused, match=words) as caught:
        await client.check()
    assert "CHAINTRUE_RPC__CA_FILE" in str(caught.value.args[0])  # a report shows the words without the cure
    assert "CHAINTRUE_RPC__CA_FILE" in str(caught.value.cure)
    assert "s3cret" not in str(caught.value)
    assert outcomes == ["untrusted"]  # asked once: no waiting mends it
    assert node.requests == []


async def test_another_node_is_asked_instead(start, connect, stack, authority):
    untrusted, good = await start(), await start()
    url = await stack.enter_async_context(tls_front.https(untrusted.url, authority.issue("node")))
    client = await connect(url, good)
    assert (await client.check()).node == good.url
    assert untrusted.requests == []


async def test_a_file_that_is_gone_when_it_is_needed_is_named(tmp_path):
    with pytest.raises(errors.SettingError, match="CHAINTRUE_RPC__CA_FILE: there is no file"):
        await Transport(max_body_bytes=1, ca_file=tmp_path / "absent.pem").__aenter__()
    with pytest.raises(errors.SettingError, match="CHAINTRUE_RPC__CA_FILE"):
        async with rpc.Client(urls=["https://a"], passphrase="", ca_file=tmp_path):
            pass
