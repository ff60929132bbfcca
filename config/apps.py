from django.apps import AppConfig


class ConfigConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        # `shared_task` binds to the application that was created first: it has to exist in every
        # process that enqueues, not only in workers.
        import config.celery  # noqa: F401
