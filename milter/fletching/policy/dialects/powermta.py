"""PowerMTA's headers."""

from fletching.policy.dialects import values
from fletching.policy.dialects.table import Dialect, Row

DIALECT = Dialect(
    title="PowerMTA",
    rows=(
        Row(
            "x-virtual-mta",
            "VirtualMTA or pool",
            "VirtualMTA of that name",
            "bulk",
            values.sets("virtual_mta"),
        ),
        Row(
            "x-job",
            "job to which the message belongs",
            "InstanceID, if it is valid as one; else the Click-Tracking-ID",
            "100525",
            values.names_run,
        ),
        Row("x-envid", "envelope id for delivery reports", "", "4711", values.lacks),
        Row("x-dkim-options", "which DKIM keys sign", "", "s=news", values.lacks),
        Row(
            "X-DKIM-Key",
            "a private key that signs",
            "",
            "(PEM)",
            values.lacks,
        ),
    ),
    sources=("PowerMTA 5.0 User's Guide (`process-x-virtual-mta`, `process-x-job`, ...)",),
    notes=(
        "The headers are removed, as PowerMTA does unless `retain-x-...` is set.",
        "PowerMTA refuses a message with an unknown VirtualMTA unless"
        " `reject-invalid-virtual-mta` is false; here `on_invalid_header` decides.",
    ),
)
