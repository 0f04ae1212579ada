"""Where providers and gateways process what they are sent, by their own public statements. Facts only.

As of 2026-11 (`AS_OF`): check them against your contracts, and declare in `data_residency` what those say otherwise.
An area is a jurisdiction, not a data centre: `us-east-1` stands for `US`. A provider that gives no promise of an area
has None, and is refused wherever an area is asked for.
"""

from __future__ import annotations

import ipaddress
import re

AS_OF = "2026-11"

AREAS = ("AU", "CA", "CH", "CN", "EU", "IN", "JP", "UK", "US")

PROVIDER_AREAS: dict[str, str | None] = {
    "openai": "US",
    "anthropic": None,  # anywhere, unless the workspace or each request sets `inference_geo`
    "groq": "US",
    "vertex": None,  # wherever its location is: the host tells
    "gemini": None,  # anywhere
    "mistral": None,  # its ordinary host is a global one; others are regional
    "together": None,  # the same
    "deepseek": "CN",
    "xai": None,  # the same
    "openrouter": None,  # anywhere, at its choice
    "perplexity": "US",
    "fireworks": "US",
    "cerebras": "US",
    "azure": None,  # wherever the resource is, which its name does not tell
    "bedrock": None,  # wherever its region is
    "deepinfra": "US",
    "hyperbolic": None,
    "nebius": "EU",
    "novita": None,
}
"""Provider → where its public API is, unless its host says otherwise."""

HOST_AREAS = {
    "api.openai.com": "US",
    "us.api.openai.com": "US",
    "eu.api.openai.com": "EU",
    "au.api.openai.com": "AU",
    "in.api.openai.com": "IN",
    "jp.api.openai.com": "JP",
    "api.groq.com": "US",
    "api.eu.mistral.ai": "EU",
    "api.us.mistral.ai": "US",
    "api.deepseek.com": "CN",
    "us.api.x.ai": "US",
    "us-east-1.api.x.ai": "US",
    "eu-west-1.api.x.ai": "EU",
    "api.perplexity.ai": "US",
    "us-api.together.ai": "US",
    "ca-api.together.ai": "CA",
    "api.fireworks.ai": "US",
    "api.cerebras.ai": "US",
}
"""Providers' own hosts, for entries of `provider_urls`."""

HOSTS_ANYWHERE = frozenset({
    "api.anthropic.com", "api.mistral.ai", "api.together.ai", "api.together.xyz", "api.x.ai",
    "aiplatform.googleapis.com", "generativelanguage.googleapis.com", "api.hyperbolic.xyz", "api.novita.ai",
    "openrouter.ai",
})  # fmt: skip
"""Public hosts that promise no area, so that they are not taken for a gateway of the user's own."""

HELICONE_AREAS = {False: "US", True: "EU"}
"""Whether the key is an EU key (`sk-helicone-eu-…`) → where Helicone keeps data. The hosts are the same; what passes
through them may cross the network anywhere."""

_HELICONE_HOSTS = re.compile(r"(?:.+\.)?helicone\.ai")
_PLACES_IN_HOSTS = (
    re.compile(r"([a-z0-9-]+)-aiplatform\.googleapis\.com"),
    re.compile(r"bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com"),
    re.compile(r"([a-z0-9]+)\.api\.cognitive\.microsoft\.com"),
)
_PLACES = (
    (r"eu-west-2|europe-west2|uksouth|ukwest|gb|uk", "UK"),
    (r"eu-central-2|europe-west6|switzerland(north|west)|ch", "CH"),
    (r"eu-(west|central|north|south)-\d|europe-(west|central|north|southwest)\d+|eu|eea", "EU"),
    (r"(west|north)europe|(france|sweden|poland|italy|spain)(central|north|south)|germany(westcentral|north)", "EU"),
    (r"us-(east|west|central|south)(-?\d)?|us-gov-(east|west)-1|us", "US"),
    (r"(east|west|central|northcentral|southcentral|westcentral)us\d?", "US"),
    (r"ca-(central|west)-1|northamerica-northeast\d|canada(central|east)|ca", "CA"),
    (r"ap-northeast-[13]|asia-northeast[12]|japan(east|west)|jp", "JP"),
    (r"ap-southeast-[24]|australia-southeast\d|australia(east|southeast|central)|au", "AU"),
    (r"ap-south-[12]|asia-south\d|(central|south|west)india|in", "IN"),
    (r"cn-(north|northwest)-1|china(east|north)\d?|cn", "CN"),
)


def area_of_place(place: str) -> str | None:
    """The area that a jurisdiction's or a cloud region's name stands for (AWS, Google, Azure); None where unknown."""
    lowered = place.strip().lower()
    for pattern, area in _PLACES:
        if re.fullmatch(pattern, lowered):
            return area
    return None


def is_helicone_host(host: str) -> bool:
    """Whether Helicone's cloud answers there; `host` is without a port, in lower case."""
    return _HELICONE_HOSTS.fullmatch(host) is not None


def is_this_machine(host: str) -> bool:
    """Whether nothing leaves the machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def area_of_host(host: str) -> str | None:
    """The area of a provider's own host, None where its name does not tell."""
    for pattern in _PLACES_IN_HOSTS:
        if match := pattern.fullmatch(host):
            return area_of_place(match[1])
    return HOST_AREAS.get(host)


__all__ = [
    "AREAS",
    "AS_OF",
    "HELICONE_AREAS",
    "HOSTS_ANYWHERE",
    "HOST_AREAS",
    "PROVIDER_AREAS",
    "area_of_host",
    "area_of_place",
    "is_helicone_host",
    "is_this_machine",
]
