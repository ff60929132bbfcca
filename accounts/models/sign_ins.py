from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now


class SignInRecordQuerySet(models.QuerySet["SignInRecord"]):
    def expired(self) -> "SignInRecordQuerySet":
        """Rows that say nothing any more."""
        return self.filter(expires_at__lt=Now())


class SignInRecord(models.Model):
    """How sign-ins with a name went from one network; without a network, from all of them.

    The name is what was typed, whether or not an account has it.
    """

    EVERYWHERE = ""

    pk = models.CompositePrimaryKey("name", "network")
    name = models.CharField(max_length=254)
    network = models.CharField(max_length=45)
    # The newest failures, oldest first; as many as it takes to reach the limit.
    failed_at = ArrayField(models.DateTimeField(), default=list)
    succeeded_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(db_index=True)

    objects = SignInRecordQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.name} from {self.network or 'everywhere'}"
