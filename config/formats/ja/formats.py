"""The same as in English, as it is written in Japanese."""

DATE_FORMAT = "Y年n月j日"
TIME_FORMAT = "H:i:s"
DATETIME_FORMAT = "Y年n月j日\u00a0H:i:s"
SHORT_DATETIME_FORMAT = "Y年n月j日\u00a0H:i"
