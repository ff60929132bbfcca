"""One unit's own value of the gateway setting, and what it would inherit."""

from typing import Any, NamedTuple

from accounts.models import OrgUnit
from policies.models import GatewayPolicy, Setting
from policies.services import Effective, inherited_value
from policies.words import value_in_words

GATEWAY = Setting.PER_USER_OUTBOUND_GATEWAY


class UnitSetting(NamedTuple):
    """`own` is None while the unit inherits; `version` is its newest saved one, 0 without any."""

    unit: OrgUnit
    own: dict[str, Any] | None
    version: int
    inherited: Effective

    @property
    def is_root(self) -> bool:
        return bool(self.unit.is_root())

    @property
    def allowed(self) -> bool:
        return self.inherited.allowed if self.own is None else bool(self.own["allowed"])

    @property
    def state(self) -> str:
        """What is saved, as the page's script names it: inherit, on or off."""
        return state_of(
            None if self.own is None and not self.is_root else {"allowed": self.allowed}
        )

    @property
    def value_text(self) -> str:
        return value_in_words(GATEWAY, {"allowed": self.allowed})

    @property
    def inherited_text(self) -> str:
        return value_in_words(GATEWAY, self.inherited.value)


def state_of(value: dict[str, Any] | None) -> str:
    if value is None:
        return "inherit"
    return "on" if value["allowed"] else "off"


def load_unit_setting(unit: OrgUnit) -> UnitSetting:
    own = GatewayPolicy.objects.filter(unit=unit, setting=GATEWAY).first()
    inherited = inherited_value(unit, GATEWAY)
    if own is None:
        return UnitSetting(unit, None, 0, inherited)
    return UnitSetting(unit, own.value, own.version, inherited)
