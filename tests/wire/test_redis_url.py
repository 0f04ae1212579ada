"""A server's URL: what the library is told, and what may be shown."""

import pytest

from genops_helicone_async._wire.redis_url import server_place


@pytest.mark.parametrize(
    "url, location, told",
    [
        ("redis://host", "redis://host:6379/0", "redis://host"),
        ("valkey://u:secret@host:7/3", "valkey://host:7/3", "redis://u:secret@host:7/3"),
        ("valkeys://[::1]:7/", "valkeys://[::1]:7/0", "rediss://[::1]:7/"),
        ("unix:///run/valkey.sock?db=3", "unix:///run/valkey.sock", "unix:///run/valkey.sock?db=3"),
    ],
)
def test_a_place_is_shown_without_login_and_options(url: str, location: str, told: str) -> None:
    """Valkey's schemes are Redis's for the library."""
    place = server_place(url)
    assert (place.location, place.url, repr(place)) == (location, told, f"ServerPlace({location!r})")


def test_passwords_and_options_are_taken_out_of_what_is_said() -> None:
    """An error of the library may quote either."""
    place = server_place("redis://user:hush@host/0?password=quiet")
    assert place.redact("hush is wrong in password=quiet") == "*** is wrong in ***"


@pytest.mark.parametrize("url", ["", "host", "http://host", "redis://", "redis:///0", "redis://host:port", "unix://"])
def test_other_urls_are_refused(url: str) -> None:
    """Whoever shows the error words it anew: its own text may quote the URL."""
    with pytest.raises(ValueError, match=r"no Redis URL|Port could not"):
        server_place(url)
