"""``queues.toml`` about queues: what it says of each, and where that was said."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock import config
from penstock.mail.configuration import QueuesConfig
from penstock.mail.problem import ConfigError
from penstock.mail.queue_name import QueueName, parse_queue_name
from penstock.mail.rate import parse_rate

#: As in KumoMTA's documentation.
EXAMPLE = """
scheduling_header = "X-Schedule"
tenant_header = "X-Tenant"
remove_tenant_header = true
campaign_header = "X-Campaign"
remove_campaign_header = true
default_tenant = "default-tenant"

[tenant.'default-tenant']
egress_pool = 'pool-1'

[tenant.'mytenant']
egress_pool = 'shared-pool-new'
max_message_rate = '5/minute'            # each scheduled queue of the tenant
overall_max_message_rate = '100/s'       # all of them together
require_authz = ["daniel"]               # who may use this tenant's header

[queue.default]
max_age = '24 hours'
[queue.'gmail.com']
retry_interval = '17 mins'
[queue.'gmail.com'.'mytenant'.'welcome-campaign']
max_age = '2 hours'
"""


def loaded(folder: Path, *texts: str) -> QueuesConfig:
    """The queues of these files, laid over one another."""
    files = [f"q{number}.toml" for number in range(len(texts))]
    for name, text in zip(files, texts, strict=True):
        (folder / name).write_text(text)
    (folder / "penstock.toml").write_text(
        f'[[listener.smtp]]\nlisten = ["127.0.0.1:0"]\n[files]\nqueues = {files}\n'
    )
    return config.load(folder / "penstock.toml", hostname=lambda: "host.example").queues


def test_a_file_of_kumomta_is_taken_as_it_is(tmp_path: Path) -> None:
    """Header fields, tenants, and queues in the order of its helper."""
    queues = loaded(tmp_path, EXAMPLE)
    assert (queues.scheduling_header, queues.tenant_header) == ("x-schedule", "x-tenant")
    assert queues.options_of("mytenant").require_authz == {"daniel"}
    assert queues.options_of("default-tenant").require_authz is None
    welcome = queues.resolve(parse_queue_name("welcome-campaign:mytenant@gmail.com"))
    assert (welcome.max_age, welcome.retry_interval) == (7200.0, 1020.0)
    assert (welcome.egress_pool, welcome.max_message_rate) == ("shared-pool-new", parse_rate("5/minute"))
    assert [(limit.key, str(limit.rate)) for limit in welcome.overall] == [("tenant:mytenant", "100/s")]
    assert welcome.origins == {
        "max_age": 'q0.toml: queue."gmail.com".mytenant.welcome-campaign.max_age',
        "retry_interval": 'q0.toml: queue."gmail.com".retry_interval',
        "egress_pool": "q0.toml: tenant.mytenant.egress_pool",
        "max_message_rate": "q0.toml: tenant.mytenant.max_message_rate",
    }
    other = queues.resolve(QueueName("example.com", "mytenant", "welcome-campaign"))
    assert (other.max_age, other.retry_interval) == (86400.0, 1200.0)
    nobody = queues.resolve(QueueName("gmail.com"))
    assert (nobody.egress_pool, nobody.max_message_rate, nobody.overall) == ("unspecified", None, ())


def test_files_are_laid_over_one_another_table_by_table(tmp_path: Path) -> None:
    """A later file changes a key of a domain's tenant, and leaves the others."""
    queues = loaded(
        tmp_path,
        "[tenant.a]\n[queue.'example.com'.a]\nmax_age = '1d'\nretry_interval = '5m'\n",
        "[queue.'EXAMPLE.com'.a]\nmax_age = '2d'\n[tenant.a.campaigns.c]\noverall_max_message_rate = '1/s'\n",
    )
    queue = queues.resolve(QueueName("example.com", "a", "c"))
    assert (queue.max_age, queue.retry_interval) == (172_800.0, 300.0)
    assert queue.origins["max_age"].startswith("q1.toml: ")
    assert queue.overall[0].origin == "q1.toml: tenant.a.campaigns.c.overall_max_message_rate"


def test_a_routing_domain_may_be_said_in_every_table(tmp_path: Path) -> None:
    """The narrowest one holds; a domain that is routed to itself is as if it said nothing."""
    queues = loaded(
        tmp_path,
        """
        [tenant.a]
        routing_domain = "a.example"
        [queue.default]
        routing_domain = "hub.example"
        [queue."example.com"]
        routing_domain = "example.com"
        [queue."example.net".a]
        routing_domain = "[192.0.2.1]"
        """,
    )
    routed = queues.layers.routing_domain_of
    assert routed("example.org", None, None) == "hub.example"
    assert routed("example.com", None, None) is None
    assert routed("example.com", "a", None) == "a.example"
    assert routed("example.net", "a", "any") == "[192.0.2.1]"


def test_weights_are_one_unless_said(tmp_path: Path) -> None:
    """Mail without a tenant weighs as much as a tenant."""
    queues = loaded(tmp_path, "[tenant.a]\nshare = 2\n[tenant.b]\n")
    assert [queues.weight_of(tenant) for tenant in ("a", "b", None, "gone")] == [2.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", ["retry_interval", "share"])
def test_a_tenant_may_be_called_as_an_option_of_another_table_is(tmp_path: Path, name: str) -> None:
    """Only the names of its own table's options are not to be had there, and the error says so."""
    text = f"[tenant.{name}]\n[queue.'example.com'.{name}]\nmax_age = '1d'\n"
    if name == "share":
        assert loaded(tmp_path, text).resolve(QueueName("example.com", name)).max_age == 86400.0
    else:
        with pytest.raises(ConfigError, match="expected a duration"):
            loaded(tmp_path, text)
