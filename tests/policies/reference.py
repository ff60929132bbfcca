"""What every account should have, one value per account, by replaying what happened.

It knows nothing of the code under test: units and accounts are names, time is seconds.
"""


class Reference:
    def __init__(self, step):
        self.step = step  # seconds between two cohorts
        self.now = 0
        self.parent = {}  # unit: the unit above, None at the top
        self.home = {}  # account: (unit, cohort)
        self.saved = {}  # unit: every change as (saved at, value); its version is its place from 1
        self.has = {}  # (account, unit): the version that has reached the account

    def save(self, unit, value, based_on):
        changes = self.saved.get(unit, [])
        if based_on != len(changes):
            return "stale"
        if value == (changes[-1][1] if changes else None):
            return "nothing to change"
        self.saved[unit] = [*changes, (self.now, value)]
        return "saved"

    def wave(self, unit, version, cohort):
        saved_at, _value = self.saved[unit][version - 1]
        due = saved_at + self.step * max(cohort - 1, 0) <= self.now
        if due and version == len(self.saved[unit]):
            reached = [account for account in self.home if self.home[account][1] == cohort]
            self.has.update({(account, unit): version for account in reached})

    def value(self, account):
        """The value, the unit that decided it and the version it came with."""
        unit, _cohort = self.home[account]
        while unit:
            version = self.has.get((account, unit), 0)
            value = self.saved[unit][version - 1][1] if version else None
            if value is not None:
                return value, unit, version
            unit = self.parent[unit]
        return False, None, 0

    def below(self, unit):
        children = [each for each, parent in self.parent.items() if parent == unit]
        return {unit}.union(*(self.below(child) for child in children))
