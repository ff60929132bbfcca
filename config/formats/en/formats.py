"""How the support pages write times: with their date, and to the second, as logs do."""

DATE_FORMAT = "j\u00a0M\u00a0Y"
TIME_FORMAT = "H:i:s"
DATETIME_FORMAT = "j\u00a0M\u00a0Y, H:i:s"
