"""Which addresses a client's URL may lead to."""

import pytest

from service.channels.addresses import is_public

PUBLIC = ["8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808", "::ffff:8.8.8.8"]

SPECIAL = [
    *("127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),  # noqa: S104 - looked at, not bound
    *("100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "192.88.99.1", "240.0.0.1"),
    *("224.0.0.1", "239.255.255.250", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fe80::1%2", "fc00::1", "fec0::1", "ff02::1", "ff0e::1"),
    *("64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b:1::808:808"),
    *("2002:7f00:1::", "2002:a9fe:a9fe::", "2002:808:808::", "2001::1", "2001:db8::1"),
    *("::ffff:10.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1", "::8.8.8.8", "100::1", "3fff::1"),
    "5f00::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_an_ordinary_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", SPECIAL)
def test_an_address_with_a_purpose_of_its_own_is_not_public(address: str) -> None:
    assert not is_public(address)
