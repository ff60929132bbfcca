"""How Django's admin writes times: as accounts/templatetags/clock.py does on our own pages."""

DATE_FORMAT = "j\u00a0M\u00a0Y"
TIME_FORMAT = "H:i"
DATETIME_FORMAT = "j\u00a0M\u00a0Y, H:i"
