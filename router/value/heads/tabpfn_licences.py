"""TabPFN's versions: under which licence Prior Labs gives the weights away, and where they are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """One version of the weights. `accept` is what router.yaml must say to use it; None: nothing."""

    name: str
    licence: str
    licence_url: str
    page: str
    file: str  # the default classifier
    accept: str | None = None

    def terms(self) -> str:
        """The licence in one sentence."""
        return f"{self.name} is under {self.licence} ({self.licence_url})"


def _restricted(version: str, page: str, file: str) -> Release:
    return Release(
        f"TabPFN v{version}",
        "a licence for NON-COMMERCIAL use alone, gated behind its acceptance",
        f"{page}/blob/main/LICENSE",
        page,
        file,
        f"tabpfn-v{version}-non-commercial",
    )


_HUB = "https://huggingface.co/Prior-Labs"

RELEASES = {  # by the architecture's name in the tabpfn package
    "tabpfn_v2": Release(
        "TabPFN v2",
        "the Prior Labs License, Apache 2.0 with attribution: what you distribute or serve with it must display "
        '"Built with PriorLabs-TabPFN"',
        f"{_HUB}/TabPFN-v2-clf/blob/main/LICENSE.txt",
        f"{_HUB}/TabPFN-v2-clf",
        "tabpfn-v2-classifier-finetuned-zk73skhh.ckpt",
    ),
    "tabpfn_v2_5": _restricted("2.5", f"{_HUB}/tabpfn_2_5", "tabpfn-v2.5-classifier-v2.5_default.ckpt"),
    "tabpfn_v2_6": _restricted("2.6", f"{_HUB}/tabpfn_2_6", "tabpfn-v2.6-classifier-v2.6_default.ckpt"),
    "tabpfn_v3": _restricted("3", f"{_HUB}/tabpfn_3", "tabpfn-v3-classifier-v3_default.ckpt"),
    "tabpfn_v3_5": _restricted("3.5", f"{_HUB}/tabpfn_3_5", "tabpfn-v3.5-20260909.safetensors"),
}

ACCEPTABLE = tuple(release.accept for release in RELEASES.values() if release.accept)


def where() -> str:
    """Where weights come from, under which licence: the end of an error message."""
    free, *restricted = RELEASES.values()
    return (
        f"`router pull tabpfn-v2` fetches {free.file} from {free.page}; {free.terms()}. "
        f"v2.5 ({restricted[0].page}) and later are under {restricted[0].licence}: "
        "`router pull tabpfn-v2.5 --accept-licence`"
    )
