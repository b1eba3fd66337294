"""The tribes we know: their local names, and the keys by which all OCEs know them.

`name@oce` is a member of our own tribe, `name@friends.oce` one of the tribe that is called friends here. Names differ
from tribe to tribe, keys do not: an address that travels has the key in the place of the name.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

OCE = "oce"
_SUFFIX = ".oce"


def is_oce(domain: str) -> bool:
    """Whether a domain is one of an OCE: `oce` or `friends.oce`, in any case."""
    folded = domain.casefold()
    return folded == OCE or folded.endswith(_SUFFIX)


@frozen
class Tribes:
    """`own` is our OCE's key, empty when it is not known; `keys` has the key of each tribe by its name here.

    `name` is what our own tribe is called, `local` are the domains of mail that are ours (in lower case).
    """

    own: str = ""
    keys: Mapping[str, str] = field(factory=dict)
    name: str = ""
    local: frozenset[str] = frozenset()
    _names: Mapping[str, str] = field(init=False, repr=False)
    _folded: Mapping[str, str] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_names", {key.casefold(): name for name, key in self.keys.items()})
        object.__setattr__(self, "_folded", {name.casefold(): key for name, key in self.keys.items()})

    def key(self, name: str) -> str | None:
        """The key of a tribe by its name here, or by the key itself, in any case."""
        folded = name.casefold()
        return self._folded.get(self._names.get(folded, folded).casefold())

    def dest(self, domain: str) -> str | None:
        """The key of the OCE that a domain of ours names, empty for our own; None for a tribe nobody knows."""
        folded = domain.casefold()
        tribe = folded.removesuffix(_SUFFIX)
        if folded == OCE or (tribe and tribe in (self.own.casefold(), self.name.casefold())):
            return ""
        return self.key(tribe)

    def may_say(self, domain: str, source: str) -> bool:
        """Whether the OCE with the key `source` may name senders in a domain: none has a say in those of OCEs, and
        another one not in our own.
        """
        abroad = bool(source) and source.casefold() != self.own.casefold()
        return not is_oce(domain) and not (abroad and domain.lower() in self.local)

    def domain(self, key: str) -> str:
        """The domain of addresses of the tribe with this key: `oce`, `friends.oce`, or the key itself in front."""
        if not key or key.casefold() == self.own.casefold():
            return OCE
        return self._names.get(key.casefold(), key) + _SUFFIX

    def outward(self, domain: str) -> str:
        """A domain of ours as another OCE can read it: with the key in the place of the name. Others stay."""
        folded = domain.casefold()
        if folded == OCE:
            return self.own + _SUFFIX if self.own else domain
        key = self.key(domain[:-len(_SUFFIX)]) if folded.endswith(_SUFFIX) else None
        return key + _SUFFIX if key else domain

    def inward(self, domain: str, source: str = "") -> str:
        """A domain that came from the OCE with the key `source`, as it is called here."""
        folded = domain.casefold()
        if folded == OCE:
            return self.domain(source)
        return self.domain(domain[:-len(_SUFFIX)]) if folded.endswith(_SUFFIX) else domain
