"""What the endpoint does not do, as clients of MLflow understand it: an HTTP status, an error code, a message."""

from __future__ import annotations

# Clients try again for minutes after 408, 429 and 5xx but 501 and 507: none of those is ever answered.
BAD, UNKNOWN, UNSUPPORTED, FULL = 400, 404, 501, 507


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """A request that is answered with an error."""

    def __init__(self, message: str, code: str = "INVALID_PARAMETER_VALUE", status: int = BAD) -> None:
        """Keep what the client is told."""
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status


def absent(what: str) -> Refused:
    """Return the refusal of something that is not there."""
    return Refused(f"{what} does not exist", "RESOURCE_DOES_NOT_EXIST", UNKNOWN)


def unsupported(what: str) -> Refused:
    """Return the refusal of a feature, which names the way out."""
    message = (
        f"mlrun's tracking endpoint has no {what}: it keeps the parameters, metrics, tags, artifacts and models of one "
        f"run. To use it, call mlflow.set_tracking_uri(...) with the address of an MLflow server"
    )
    return Refused(message, "FEATURE_DISABLED", UNSUPPORTED)
