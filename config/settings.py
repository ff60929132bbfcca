"""Settings, all from the environment; each secret also from a file named by `<NAME>_FILE`.

docs/operations.md lists every variable. A missing secret stops the start: there is no default key.
"""

from email.utils import formataddr
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from accounts.incoming_server import parse_incoming_url
from config.logs import logging_settings
from smtp.relay_url import parse_relay_url
from smtp.target import Security

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.FileAwareEnv()

# --- what an installation says -------------------------------------------------------------
SECRET_KEY = env.str("SECRET_KEY")
BASE_URL = env.str("OUTGATE_BASE_URL", default="http://localhost:8000").rstrip("/")
DEBUG = False
ALLOWED_HOSTS = env.list("OUTGATE_ALLOWED_HOSTS", default=[urlsplit(BASE_URL).hostname])
CSRF_TRUSTED_ORIGINS = [BASE_URL]

OUTGATE_RELAY_URL = env.str("OUTGATE_RELAY_URL")
# "id:base64 of 32 bytes", comma-separated; the first one encrypts, all of them decrypt.
OUTGATE_CREDENTIAL_KEYS = env.list("OUTGATE_CREDENTIAL_KEYS")
OUTGATE_ROLLOUT_WINDOW = env.int("OUTGATE_ROLLOUT_WINDOW", default=3600)  # seconds
OUTGATE_ROLLOUT_COHORTS = env.int("OUTGATE_ROLLOUT_COHORTS", default=12)
OUTGATE_EGRESS_NETWORKS = tuple(
    ip_network(text) for text in env.list("OUTGATE_EGRESS_NETWORKS", default=[])
)
OUTGATE_SMART_HOST_NETWORKS = OUTGATE_EGRESS_NETWORKS + tuple(
    ip_network(text) for text in env.list("OUTGATE_SMART_HOST_NETWORKS", default=[])
)
OUTGATE_EGRESS_PORTS = frozenset(
    int(port) for port in env.list("OUTGATE_EGRESS_PORTS", default=["465", "587", "2525"])
)
# Whether the outside is asked about an address: for its server, and for what its domain says of its
# mail. Resolvers as address or address#port.
OUTGATE_FIND_SETTINGS = env.bool("OUTGATE_FIND_SETTINGS", default=True)
OUTGATE_DNS_SERVERS = tuple(
    (address, int(port or "53"))
    for address, _, port in (
        text.partition("#") for text in env.list("OUTGATE_DNS_SERVERS", default=[])
    )
)
# From where the organisation's servers send: only to judge its own SPF record.
OUTGATE_SENDING_ADDRESSES = tuple(
    ip_address(text) for text in env.list("OUTGATE_SENDING_ADDRESSES", default=[])
)
OUTGATE_HOSTNAME = env.str("OUTGATE_HOSTNAME", default=urlsplit(BASE_URL).hostname)
OUTGATE_SUBMISSION_HOST = env.str("OUTGATE_SUBMISSION_HOST", default="127.0.0.1")
OUTGATE_SUBMISSION_PORT = env.int("OUTGATE_SUBMISSION_PORT", default=1587)
OUTGATE_SUBMISSIONS_PORT = env.int("OUTGATE_SUBMISSIONS_PORT", default=1465)
OUTGATE_SUBMISSION_HEALTH_HOST = env.str("OUTGATE_SUBMISSION_HEALTH_HOST", default="127.0.0.1")
OUTGATE_SUBMISSION_HEALTH_PORT = int(env.str("OUTGATE_SUBMISSION_HEALTH_PORT", default="") or 0)
# How long messages under way have to finish once the service is asked to end.
OUTGATE_SUBMISSION_DRAIN_SECONDS = env.int("OUTGATE_SUBMISSION_DRAIN_SECONDS", default=60)
# Each worker, and beat, at its own; not well after so long without a sign of life.
OUTGATE_CELERY_HEALTH_HOST = env.str("OUTGATE_CELERY_HEALTH_HOST", default="127.0.0.1")
OUTGATE_CELERY_HEALTH_PORT = int(env.str("OUTGATE_CELERY_HEALTH_PORT", default="") or 0)
OUTGATE_CELERY_SILENT_SECONDS = env.int("OUTGATE_CELERY_SILENT_SECONDS", default=60)
# Load balancers in these networks say with the PROXY protocol whom they stand for.
OUTGATE_PROXY_NETWORKS = tuple(
    ip_network(text) for text in env.list("OUTGATE_PROXY_NETWORKS", default=[])
)
# Wrong app passwords from these networks are neither counted nor held off.
OUTGATE_SIGN_IN_EXEMPT_NETWORKS = tuple(
    ip_network(text) for text in env.list("OUTGATE_SIGN_IN_EXEMPT_NETWORKS", default=[])
)
OUTGATE_TLS_CERT_FILE = env.str("OUTGATE_TLS_CERT_FILE", default="")
OUTGATE_TLS_KEY_FILE = env.str("OUTGATE_TLS_KEY_FILE", default="")
# Where people read their mail; only told to mail programs that ask for settings.
OUTGATE_INCOMING_SERVER = parse_incoming_url(env.str("OUTGATE_INCOMING_URL", default=""))
OUTGATE_MESSAGE_SIZE = env.int("OUTGATE_MESSAGE_SIZE", default=36_700_160)  # bytes
# Recipients that an account may write to within any hour, and any day.
OUTGATE_RECIPIENTS_PER_HOUR = env.int("OUTGATE_RECIPIENTS_PER_HOUR", default=500)
OUTGATE_RECIPIENTS_PER_DAY = env.int("OUTGATE_RECIPIENTS_PER_DAY", default=2000)
# The delivery log is kept so long, and the recipients in it for a shorter time.
OUTGATE_DELIVERY_LOG_DAYS = env.int("OUTGATE_DELIVERY_LOG_DAYS", default=180)
OUTGATE_RECIPIENT_LOG_DAYS = env.int("OUTGATE_RECIPIENT_LOG_DAYS", default=30)
OUTGATE_RETRY_HOURS = env.int("OUTGATE_RETRY_HOURS", default=48)
# Outside addresses have to be proved again after so many days; asked for four weeks before.
OUTGATE_PROOF_DAYS = env.int("OUTGATE_PROOF_DAYS", default=365)
if OUTGATE_PROOF_DAYS < 60:
    raise ImproperlyConfigured("OUTGATE_PROOF_DAYS is too short: set it to 60 or more.")
# More accounts whose password one server refuses within an hour are an incident; half are its end.
OUTGATE_FAILING_ACCOUNTS = env.int("OUTGATE_FAILING_ACCOUNTS", default=20)
OUTGATE_FROM_ADDRESS = env.str("OUTGATE_FROM_ADDRESS", default=f"outgate@{OUTGATE_HOSTNAME}")
OUTGATE_DEMO = env.bool("OUTGATE_DEMO", default=False)
OUTGATE_DATA_DIR = Path(env.str("OUTGATE_DATA_DIR", default=str(BASE_DIR / "var")))

# --- Django ----------------------------------------------------------------------------------
INSTALLED_APPS = [
    "config",
    "console",
    "submission",
    "delivery",
    "sendas",
    "policies",
    "accounts",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "treebeard",
    "django_htmx",
    "template_partials",
    "whitenoise.runserver_nostatic",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django.forms",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "config.middleware.ContentSecurityPolicy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "config.middleware.AccountLanguage",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "config.context.installation",
            ],
        },
    },
]
FILE_UPLOAD_HANDLERS = [
    "delivery.uploads.BoundedUpload",
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]
# Far above what a form may have: BoundedUpload keeps fewer, and the rest of the form with them.
DATA_UPLOAD_MAX_NUMBER_FILES = 10_000
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

DATABASES = {"default": env.db("DATABASE_URL")}
DATABASES["default"]["CONN_MAX_AGE"] = 60
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
# libpq would wait for hours for a host that is gone. What DATABASE_URL says itself goes first.
DATABASES["default"]["OPTIONS"] = {
    "connect_timeout": 5,  # seconds, for each address
    "tcp_user_timeout": 20_000,  # milliseconds without an acknowledgement of what was sent
    # While an answer is awaited: how long without a word, and then how often it is asked.
    "keepalives_idle": 10,  # seconds
    "keepalives_interval": 5,
    "keepalives_count": 2,
} | DATABASES["default"].get("OPTIONS", {})
# The owner's role: only `migrate` and `flush` use it (accounts/owner.py).
MIGRATE_DATABASE = env.db("MIGRATE_DATABASE_URL", default=env.str("DATABASE_URL"))
# Only limits are in it, django-allauth's and ours, and they must hold for all web processes
# together. Redis may be lost at any time, and nobody could sign in then; without PostgreSQL nobody
# can anyway.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "shared_cache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("primary_address", "name")},
    },
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {
    "login": "accounts.forms.SignInForm",
    "change_password": "accounts.forms.ChangePasswordForm",
    "reset_password": "accounts.forms.ResetPasswordForm",
    "reset_password_from_key": "accounts.forms.NewPasswordForm",
    "reauthenticate": "accounts.forms.PasswordAgainForm",
}
ALLAUTH_TRUSTED_PROXY_COUNT = env.int("OUTGATE_WEB_PROXIES", default=0)
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_USER_MODEL_EMAIL_FIELD = "primary_address"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
# Whoever asks for a new password for an address that nobody has here sends no mail to it.
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
MFA_ADAPTER = "sendas.second_factor.SecondFactorAdapter"
MFA_TOTP_ISSUER = "Outgate"
# Codes of the half minutes before and after hold too: people type slowly, and clocks differ.
MFA_TOTP_TOLERANCE = 1
MFA_FORMS = {
    "authenticate": "accounts.forms.SecondFactorForm",
    "reauthenticate": "accounts.forms.SecondFactorAgainForm",
    "activate_totp": "accounts.forms.SetUpSecondFactorForm",
}

LANGUAGE_CODE = "en"
# Each by its own name, for whoever reads no other.
LANGUAGES = [("en", "English"), ("ja", "日本語")]
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
USE_I18N = True
LOCALE_PATHS = [BASE_DIR / "locale"]
FORMAT_MODULE_PATH = ["config.formats"]
USE_TZ = True
TIME_ZONE = env.str("OUTGATE_TIME_ZONE", default="UTC")

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Each web process reads the source folders at its start: there is no collecting step.
WHITENOISE_USE_FINDERS = True

# --- security ----------------------------------------------------------------------------------
_https = BASE_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = _https
SECURE_SSL_REDIRECT = _https
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz)$"]
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = _https
SECURE_HSTS_PRELOAD = _https
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _https else None
SESSION_COOKIE_AGE = 14 * 24 * 3600
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"

# --- mail that Outgate itself writes (codes, password resets) leaves by the relay ----
_relay, _credential = parse_relay_url(OUTGATE_RELAY_URL)
EMAIL_HOST = _relay.host
EMAIL_PORT = _relay.port
EMAIL_HOST_USER = _credential.username if _credential else ""
EMAIL_HOST_PASSWORD = _credential.password if _credential else ""
EMAIL_USE_TLS = _relay.security == Security.STARTTLS
EMAIL_USE_SSL = _relay.security == Security.SSL
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = formataddr(("Outgate", OUTGATE_FROM_ADDRESS))

# --- Celery ---------------------------------------------------------------------------------------
CELERY_BROKER_URL = env.str("REDIS_URL")
CELERY_IMPORTS = ["config.celery_health"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 300}
HOUR = 3600.0
# Nothing on disk: a file from before the clock was put back would keep beat quiet until then.
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"
# Seconds between two. Expiry compares two machines' clocks, which may be 4 hours apart: it only
# keeps the queue of a worker that is away short. PostgreSQL says which sweeps enqueue something
# (accounts.services.sweeps).
TASKS_EVERY = {
    "accounts.tasks.forget_sign_ins": HOUR,
    "delivery.tasks.check_sign_ins": 10.0,
    "delivery.tasks.forget_deliveries": 300.0,
    "delivery.tasks.forget_recipient_counts": HOUR,
    "delivery.tasks.sweep_limit_reports": 10.0,
    "delivery.tasks.sweep_outbox": 2.0,
    "delivery.tasks.tidy_outbox": 600.0,
    "policies.tasks.sweep_waves": 2.0,
    "sendas.tasks.sweep_approvals": 60.0,
    "sendas.tasks.sweep_incidents": 60.0,
    "sendas.tasks.sweep_mail_domains": 60.0,
    "sendas.tasks.sweep_notices": 10.0,
    "sendas.tasks.sweep_proofs": 60.0,
}
CELERY_BEAT_SCHEDULE = {
    task.rpartition(".")[2]: {"task": task, "schedule": every, "options": {"expires": 6 * HOUR}}
    for task, every in TASKS_EVERY.items()
}
# Slow mail servers must not keep a policy change waiting: a worker of their own takes these.
CELERY_TASK_ROUTES = {"delivery.tasks.deliver_outbox": {"queue": "outbox"}}

LOGGING = logging_settings(
    form=env.str("OUTGATE_LOG_FORMAT", default="text"),
    level=env.str("OUTGATE_LOG_LEVEL", default="INFO"),
)
