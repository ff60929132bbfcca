"""What every account should have, one value per account, by replaying what happened.

It knows nothing of the code under test: units and accounts are names, time is seconds.
"""


class Change:
    """`due` holds, for each cohort that still waits, when its wave comes."""

    def __init__(self, value, starts, undoes=None):
        self.value, self.starts, self.undoes = value, starts, undoes
        self.version = self.old = self.held_since = None
        self.due, self.replaced, self.actions = {}, False, 0

    @property
    def state(self):
        if self.version is None:
            return "scheduled" if self.starts is not None else "cancelled"
        if self.replaced:
            return "replaced"
        return "complete" if not self.due else "rolling" if self.held_since is None else "paused"


class Reference:
    def __init__(self, step, cohorts):
        self.step, self.cohorts = step, cohorts  # seconds between two cohorts; all of them
        self.now = 0
        self.parent = {}  # unit: the unit above, None at the top
        # account: (unit, cohort)
        self.home = {self.resident(cohort): (None, cohort) for cohort in cohorts}
        self.own_cohort = {}  # account in the express cohort for a while: where it returns to
        self.changes = {}  # unit: everything saved for it, in the order of saving
        self.has = {}  # (account, unit): the change that has reached the account

    # --- saving ---------------------------------------------------------------------------

    def newest(self, unit):
        started = [change for change in self.changes.get(unit, []) if change.version]
        return max(started, key=lambda change: change.version, default=None)

    def version(self, unit):
        return self.newest(unit).version if self.newest(unit) else 0

    def save(self, unit, value, based_on, starts=None):
        newest = self.newest(unit)
        if based_on != self.version(unit):
            return "stale"
        if starts is None and value == (newest.value if newest else None):
            return "nothing to change"
        if starts is not None and starts <= self.now:
            return "refused"
        change = Change(value, self.now if starts is None else starts)
        self.changes.setdefault(unit, []).append(change)
        if starts is None:
            self.start(unit, change)
        return "saved"

    def start(self, unit, change, at_once=()):
        newest = self.newest(unit)
        change.old = newest.value if newest else None
        change.version = self.version(unit) + 1
        for older in self.changes[unit]:
            if older.version and older is not change and older.value != change.value and older.due:
                older.due, older.replaced = {}, True
        delays = {cohort: self.step * max(cohort - 1, 0) for cohort in self.cohorts}
        change.due = {
            cohort: change.starts + (0 if cohort in at_once else delay)
            for cohort, delay in delays.items()
        }

    def start_what_is_due(self):
        for unit, changes in self.changes.items():
            due = [each for each in changes if each.state == "scheduled"]
            for change in sorted(due, key=lambda each: (each.starts, changes.index(each))):
                if change.starts <= self.now:
                    change.actions += 1
                    self.start(unit, change)

    # --- what reaches whom ------------------------------------------------------------------

    def wave(self, unit, change, cohort):
        if change.held_since is None and change.due.get(cohort, self.now + 1) <= self.now:
            del change.due[cohort]
            for account in self.home:
                had = self.has.get((account, unit))
                newer = had is None or had.version < change.version
                if self.home[account][1] == cohort and newer:
                    self.has[account, unit] = change

    def waits(self, account, cohort):
        return any(
            cohort in change.due
            for unit in self.above(self.home[account][0])
            for change in self.changes.get(unit, [])
        )

    def apply_now_to(self, account):
        cohort = self.home[account][1]
        if cohort == 0 or not self.waits(account, cohort):
            return "refused"
        self.own_cohort[account] = cohort
        self.join(account, 0)
        return "done"

    def let_guests_return(self):
        for account, cohort in list(self.own_cohort.items()):
            if not self.waits(account, cohort):
                del self.own_cohort[account]
                self.join(account, cohort)

    def join(self, account, cohort):
        """Into a cohort, where the account has what one that was always there has."""
        self.home[account] = (self.home[account][0], cohort)
        for unit in self.parent:
            self.has[account, unit] = self.has.get((self.resident(cohort), unit))

    def resident(self, cohort):
        """An account that never leaves its cohort."""
        return f"resident-{cohort}"

    def value(self, account):
        """The value, the unit that decided it and the version it came with."""
        for unit in self.above(self.home[account][0]):
            change = self.has.get((account, unit))
            if change and change.value is not None:
                return change.value, unit, change.version
        return False, None, 0

    # --- actions ----------------------------------------------------------------------------

    POSSIBLE = {
        "pause": {"rolling"},
        "resume": {"paused"},
        "apply now": {"scheduled", "rolling", "paused"},
        "undo": {"rolling", "paused", "complete"},
        "reschedule": {"scheduled"},
        "cancel": {"scheduled"},
    }

    def act(self, action, unit, change, based_on, starts=None):
        refused = change.state not in self.POSSIBLE[action] or based_on != change.actions
        if refused or (action == "undo" and not self.can_be_undone(unit, change)):
            return "refused"
        getattr(self, action.replace(" ", "_"))(unit, change, starts)
        change.actions += 1
        return "done"

    def can_be_undone(self, unit, change):
        newest = change is self.newest(unit)
        return newest and change.undoes is None and change.old != change.value

    def pause(self, _unit, change, _starts):
        change.held_since = self.now

    def resume(self, _unit, change, _starts):
        later = self.now - change.held_since
        change.due = {cohort: due + later for cohort, due in change.due.items()}
        change.held_since = None

    def apply_now(self, unit, change, _starts):
        if change.state == "scheduled":
            change.starts = self.now
            self.start(unit, change)
        change.due, change.held_since = dict.fromkeys(change.due, self.now), None

    def reschedule(self, _unit, change, starts):
        change.starts = starts

    def cancel(self, _unit, change, _starts):
        change.starts = None

    def undo(self, unit, change, _starts):
        """Who has it, or has the old value already, is done at once."""
        back = Change(change.old, self.now, undoes=change)
        self.changes[unit].append(back)
        at_once = {0}
        for account, (_unit, cohort) in self.home.items():
            had = self.has.get((account, unit))
            if had is change or (had.value if had else None) == change.old:
                at_once.add(cohort)
        self.start(unit, back, at_once)

    # --- the tree -----------------------------------------------------------------------------

    def above(self, unit):
        while unit:
            yield unit
            unit = self.parent[unit]

    def below(self, unit):
        children = [each for each, parent in self.parent.items() if parent == unit]
        return {unit}.union(*(self.below(child) for child in children))
