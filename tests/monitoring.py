"""A process as monitoring sees it: what it answers at its health port."""

import urllib.error
import urllib.request
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families


@dataclass
class Monitored:
    health_port: int

    def ask(self, path: str) -> tuple[int, str]:
        """Status and text that monitoring gets; 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}{path}") as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()
        except OSError:
            return 0, ""

    def sample(self, name: str, **labels: str) -> float | None:
        """The value of one metric, as Prometheus reads it; None where there is none."""
        status, text = self.ask("/metrics")
        for family in text_string_to_metric_families(text if status == 200 else ""):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        return None
