"""Fingerprints of configuration and code."""

from dataclasses import asdict

import pytest
from omegaconf import OmegaConf

from bgb.config.infra import InfraConfig
from bgb.infra.fingerprint import code_digest, differing, file_digest, fingerprint, key_digests


def task(**values):
    return OmegaConf.create({"lr": 0.1, "model": {"name": "a", "size": [1, 2]}, **values})


def square(x):
    return x * x


def test_same_configuration_has_the_same_fingerprint_in_any_order():
    other = OmegaConf.create({"model": {"size": [1, 2], "name": "a"}, "lr": 0.1})
    assert fingerprint(key_digests(task())) == fingerprint(key_digests(other))


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 0.2},
        {"lr": "0.1"},
        {"model": {"name": "a", "size": [2, 1]}},
        {"new": None},
        {"e": {}},
    ],
)
def test_any_changed_value_changes_it(change):
    assert fingerprint(key_digests(task())) != fingerprint(key_digests(task(**change)))


def test_the_rented_machine_does_not_count():
    one = task(infra=asdict(InfraConfig(gpu="L4")))
    other = task(infra=asdict(InfraConfig(gpu="H100", max_cost_usd=5.0)))
    assert key_digests(one) == key_digests(other) == key_digests(task())


def test_a_foreign_key_that_is_called_infra_counts():
    assert key_digests(task(infra={"racks": 1})) != key_digests(task(infra={"racks": 2}))


def test_differing_names_the_keys():
    here = key_digests(task(model={"name": "b", "size": [1, 2]}, added=1))
    assert differing(key_digests(task()), here) == ["added", "model.name"]


def test_digests_do_not_reveal_values():
    assert "hunter2" not in str(key_digests(task(password="hunter2")))


def test_interpolations_count_as_they_are_sent(monkeypatch):
    monkeypatch.setenv("HERE", "laptop")
    before = key_digests(task(root="${oc.env:HERE}", stamp="${now:%s}"))
    monkeypatch.setenv("HERE", "elsewhere")
    assert key_digests(task(root="${oc.env:HERE}", stamp="${now:%s}")) == before


def test_code_digest_follows_every_shipped_file(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "a.py").write_text("x = 1")
    (package / "option.yaml").write_text("lr: 1")
    digests = [code_digest([package], square)]
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "a.pyc").write_text("compiled")
    assert code_digest([package], square) == digests[0]
    (package / "option.yaml").write_text("lr: 2")
    digests.append(code_digest([package], square))
    (package / "option.yaml").rename(package / "other.yaml")
    digests.append(code_digest([package], square))
    digests.append(code_digest([package], test_differing_names_the_keys.__class__))
    module = tmp_path / "module.py"
    module.write_text("y = 1")
    digests.append(code_digest([package, module], square))
    assert len(set(digests)) == len(digests)


def test_file_digest_follows_the_file(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text("torch==2.13.0")
    before = file_digest(lock)
    lock.write_text("torch==2.14.0")
    assert file_digest(lock) != before
