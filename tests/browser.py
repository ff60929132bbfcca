"""How the tests start Debian's Chromium."""

CHROMIUM = "/usr/bin/chromium"
# Debian's Chromium looks for Google's hosts at every start otherwise.
QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
