"""How times are written: with their date, and on the support pages to the second, as logs do."""

DATE_FORMAT = "j\u00a0M\u00a0Y"
TIME_FORMAT = "H:i:s"
DATETIME_FORMAT = "j\u00a0M\u00a0Y, H:i:s"
SHORT_DATETIME_FORMAT = "j\u00a0M\u00a0Y, H:i"
