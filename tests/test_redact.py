"""Secrets are kept out of what is written."""

import pytest

from bgb.redact import redact, redact_override

TOKEN = "0123456789abcdefghij"


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("optimizer.lr=1e-4", "optimizer.lr=1e-4"),
        ("logger.wandb_entity=team", "logger.wandb_entity=team"),
        ("infra.secrets=[wandb-secret]", "infra.secrets=[wandb-secret]"),
        ("hydra.job.env_set.WANDB_API_KEY=short", "hydra.job.env_set.WANDB_API_KEY=***"),
        ("hydra.job.env_set={WANDB_API_KEY:short}", "hydra.job.env_set=***"),
        ("data.root=s3://me:pass@host/eeg", "data.root=s3://me:***@host/eeg"),
        (f"title={TOKEN}", "title=***"),
    ],
)
def test_override_is_written_without_secrets(
    monkeypatch: pytest.MonkeyPatch, word: str, written: str
) -> None:
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    assert redact_override(word) == written


def test_short_values_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "a")
    assert redact("a and b") == "a and b"


def test_each_line_of_a_secret_is_taken_out_of_a_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["-----BEGIN PRIVATE-----", "MIIEvQIBADANBgkqhkiG9w0BAQ", "-----END PRIVATE KEY----"]
    monkeypatch.setenv("GCP_CREDENTIALS", "\n".join(lines))
    patch = "".join(f"+{line}\n" for line in lines)
    assert redact(patch) == "+***\n" * 3


def test_user_of_a_url_is_taken_out_too() -> None:
    assert redact("https://ghp_0123456789@host/x") == "https://***@host/x"
    assert redact("https://me:secret@host/x") == "https://me:***@host/x"
