# make up     Outgate and its demo on this machine; Ctrl-C stops it
# make test   everything the tests need, then all of them but the soak
# make soak   the long forms: about three hours, with figures
# make lint   the checks that need no running service
# make messages  the Japanese catalogue: texts new in the code added, and compiled
# make bench  figures, beside Postfix's
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# Settings have no default for these. Nothing of lint connects anywhere or keeps the key.
LINT_ENVIRONMENT := DJANGO_SETTINGS_MODULE=config.settings \
	SECRET_KEY="$$($(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(48))')" \
	OUTGATE_CREDENTIAL_KEYS=lint:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= \
	OUTGATE_RELAY_URL=smtp://localhost OUTGATE_BASE_URL=https://outgate.example \
	DATABASE_URL=postgres://lint@localhost:1/lint REDIS_URL=redis://localhost:1

.PHONY: up test soak lint messages bench

# --with-parent: when make is killed, so is what it started.
up:
	$(call install,requirements.txt)
	@exec $(RUN) manage.py up --with-parent

test:
	@.ci/packages
	$(call install,requirements-dev.txt)
	$(RUN) -m pytest --numprocesses 3 --dist worksteal

soak:
	@.ci/packages
	$(call install,requirements-dev.txt)
	$(RUN) -m pytest -m soak --capture=no
	$(RUN) -m pytest tests/smtp/test_fuzz.py --hypothesis-profile=soak --timeout=3600

lint:
	$(call install,requirements-dev.txt)
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m bandit --quiet --recursive --severity-level high --configfile pyproject.toml .
	$(LINT_ENVIRONMENT) $(RUN) -m mypy .
	$(VENV)/bin/lint-imports
	$(LINT_ENVIRONMENT) $(RUN) -W "ignore:Got an error checking" manage.py makemigrations --check
	$(LINT_ENVIRONMENT) $(RUN) manage.py check --deploy --fail-level WARNING

# Needs Debian's gettext.
messages:
	$(call install,requirements-dev.txt)
	$(LINT_ENVIRONMENT) $(RUN) manage.py makemessages
	$(LINT_ENVIRONMENT) $(RUN) manage.py compilemessages --ignore .venv

bench:
	@.ci/packages-bench
	$(call install,requirements-dev.txt)
	$(RUN) -m bench

# Makes the environment where it is missing or broken, and installs the file named unless exactly
# that file was installed before.
define install
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Outgate needs Python 3.11 or later: make $@ PYTHON=/path/to/python" >&2; exit 1; }
@$(RUN) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
@sha256sum --check --status $(VENV)/$(1).sha256 2>/dev/null || \
	{ $(RUN) -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r $(1) \
	&& sha256sum $(1) >$(VENV)/$(1).sha256; }
endef
