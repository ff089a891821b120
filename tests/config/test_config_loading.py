"""Loading a configuration: what absent options mean, how files are laid over one another, that each is read once."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest

from benchmarks.mistakes import root
from penstock import config
from penstock.config.disk import read_file
from penstock.mail.configuration import (
    Configuration,
    DnsConfig,
    Endpoint,
    EventsConfig,
    LineEndings,
    NodeConfig,
    PathConfig,
    QueuesConfig,
    Reserve,
    ShapingConfig,
    SmtpListenerConfig,
    SpoolConfig,
    StaticAnswer,
)
from penstock.mail.duration import ByteCount
from penstock.mail.problem import ConfigError
from penstock.mail.queue_name import QueueName

LISTENER = '[[listener.smtp]]\nlisten = ["127.0.0.1:2525"]\n'


def load(folder: Path, **files: str) -> Configuration:
    """The configuration of the files given by name without ``.toml``, on a host that calls itself host.example."""
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    return config.load(folder / "penstock.toml", hostname=lambda: "host.example")


def problems(folder: Path, **files: str) -> list[str]:
    """What is wrong with the files, a line for each problem, without the folder."""
    with pytest.raises(ConfigError) as caught:
        load(folder, **files)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_one_listener_is_a_configuration_and_all_else_is_the_documented_default(tmp_path: Path) -> None:
    """An operator writes what differs."""
    assert load(tmp_path, penstock=LISTENER) == Configuration(
        node=NodeConfig("host.example", "/var/lib/penstock"),
        smtp_listeners=(SmtpListenerConfig((Endpoint("127.0.0.1", 2525),), "host.example"),),
        http_listeners=(),
        dns=DnsConfig(),
        spool=SpoolConfig("fsync", Reserve(share=0.05)),
        events=EventsConfig(),
        queues=QueuesConfig(),
        shaping=ShapingConfig(PathConfig()),
    )


def test_every_kind_of_value_arrives_in_its_field(tmp_path: Path) -> None:
    """Durations become seconds, sizes octets, networks networks."""
    loaded = load(
        tmp_path,
        penstock="""
        [node]
        hostname = "MTA1.Bücher.example"
        memory_limit = "4GiB"
        workers = 3
        [[listener.smtp]]
        listen = ["0.0.0.0:25", "[::]:25"]
        hostname = "in.example"
        relay_hosts = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"]
        max_message_size = "1MB"
        client_timeout = 90
        invalid_line_endings = "Fix"
        tls = "off"
        [[listener.smtp]]
        listen = ["127.0.0.1:587"]
        [[listener.http]]
        listen = ["127.0.0.1:8000"]
        trusted_hosts = []
        [dns]
        nameservers = ["192.0.2.53", "[2001:db8::53]:5353"]
        [dns.static]
        "Example.Test" = { mx = ["mx.example.test", "5 mx2.example.test"] }
        "null.test" = { mx = ["0 ."] }
        "mx.example.test" = { a = ["127.0.0.1"], aaaa = ["0:0::1"] }
        [spool]
        durability = "os"
        min_free_space = "2GiB"
        [events]
        max_file_size = 1_000_000
        max_segment_duration = "15 min"
        """,
    )
    assert loaded.node.hostname == "mta1.xn--bcher-kva.example"
    assert loaded.node.memory_limit == 4 * 1024**3
    first, second = loaded.smtp_listeners
    assert [str(endpoint) for endpoint in first.listen] == ["0.0.0.0:25", "[::]:25"]
    assert first.relay_hosts == (
        IPv4Network("10.0.0.0/8"),
        IPv6Network("2001:db8::/32"),
        IPv4Network("192.0.2.1/32"),
    )
    assert (first.hostname, first.max_message_size, first.client_timeout) == ("in.example", 1_000_000, 90.0)
    assert first.invalid_line_endings is LineEndings.FIX
    assert second.hostname == "mta1.xn--bcher-kva.example"
    assert loaded.http_listeners[0].trusted_hosts == ()
    assert loaded.dns.nameservers == (Endpoint("192.0.2.53", 53), Endpoint("2001:db8::53", 5353))
    assert loaded.dns.static == {
        "example.test": StaticAnswer(mx=((10, "mx.example.test"), (5, "mx2.example.test"))),
        "null.test": StaticAnswer(mx=((0, "."),)),
        "mx.example.test": StaticAnswer(a=("127.0.0.1",), aaaa=("::1",)),
    }
    assert loaded.spool == SpoolConfig("os", Reserve(octets=ByteCount(2 * 1024**3)))
    assert loaded.events == EventsConfig(1_000_000, 900.0)  # type: ignore[arg-type]


def test_files_of_operators_of_kumomta_are_taken_as_they_are(tmp_path: Path) -> None:
    """Quoting, spellings of durations and thousands separators are theirs."""
    loaded = load(
        tmp_path,
        penstock=LISTENER + '[files]\nqueues = "queues.toml"\nshaping = ["shaping.toml"]\n',
        queues="""
        tenant_header = "X-Tenant"
        remove_tenant_header = false
        campaign_header = "X-Campaign"
        default_tenant = "default-tenant"
        [tenant.'default-tenant']
        [tenant.'mytenant']
        [queue.default]
        retry_interval = '17 mins'
        max_retry_interval = '4 hours'
        max_age = '24 hours'
        """,
        shaping="""
        ["default"]
        smtp_port = 2525
        connection_limit = "1,000"
        prohibited_hosts = []
        enable_tls = "Disabled"
        idle_timeout = "60s"
        """,
    )
    assert loaded.queues.tenant_header == "x-tenant"
    assert loaded.queues.campaign_header == "x-campaign"
    assert not loaded.queues.remove_tenant_header
    assert loaded.queues.remove_campaign_header
    assert loaded.queues.tenants == {"default-tenant", "mytenant"}
    queue = loaded.queues.resolve(QueueName("example.com"))
    assert (queue.retry_interval, queue.max_retry_interval, queue.max_age) == (17 * 60.0, 4 * 3600.0, 86400.0)
    path = loaded.shaping.default
    assert (path.smtp_port, path.connection_limit, path.prohibited_hosts, path.idle_timeout) == (
        2525,
        1000,
        (),
        60.0,
    )


def test_a_later_file_is_laid_over_an_earlier_one_key_by_key(tmp_path: Path) -> None:
    """What it does not say stays; its tenants are added; its arrays replace."""
    loaded = load(
        tmp_path,
        penstock=LISTENER + '[files]\nqueues = ["a.toml", "b.toml"]\nshaping = ["c.toml", "d.toml"]\n',
        a='default_tenant = "one"\n[tenant.one]\n[queue.default]\nretry_interval = "1m"\nmax_age = "1d"\n',
        b='[tenant.two]\n[tenant.one]\n[queue.default]\nretry_interval = "2m"\n',
        c='[default]\nprohibited_hosts = ["127.0.0.0/8", "10.0.0.0/8"]\nsmtp_port = 26\n',
        d='[default]\nprohibited_hosts = ["192.0.2.1"]\n',
    )
    assert loaded.queues.tenants == {"one", "two"}
    assert loaded.queues.default_tenant == "one"
    queue = loaded.queues.resolve(QueueName("example.com"))
    assert (queue.retry_interval, queue.max_age) == (120.0, 86400.0)
    assert queue.origins == {
        "retry_interval": "b.toml: queue.default.retry_interval",
        "max_age": "a.toml: queue.default.max_age",
    }
    assert loaded.shaping.default.prohibited_hosts == (IPv4Network("192.0.2.1/32"),)
    assert loaded.shaping.default.smtp_port == 26


def test_a_default_tenant_of_one_file_may_be_a_tenant_of_another(tmp_path: Path) -> None:
    """Checks across files look at all of them together."""
    loaded = load(
        tmp_path,
        penstock=LISTENER + '[files]\nqueues = ["a.toml", "b.toml"]\n',
        a='default_tenant = "two"\n',
        b="[tenant.two]\n",
    )
    assert loaded.queues.default_tenant == "two"


def test_paths_are_relative_to_the_root_file_wherever_the_command_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data directory, policy and data files; the result is absolute."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "etc"
    (folder / "more").mkdir(parents=True)
    (folder / "penstock.toml").write_text(
        root(node='policy = "policy.py"', rest='[files]\nqueues = "more/q.toml"')
    )
    (folder / "more" / "q.toml").write_text("[tenant.a]\n")
    loaded = config.load("etc/penstock.toml")
    assert loaded.node.data_dir == str(folder / "data")
    assert loaded.node.policy == str(folder / "policy.py")
    assert loaded.queues.tenants == {"a"}


def test_two_listeners_may_each_ask_for_any_free_port(tmp_path: Path) -> None:
    """Port 0 twice is not the same port twice."""
    loaded = load(tmp_path, penstock='[[listener.smtp]]\nlisten = ["127.0.0.1:0"]\n' * 2)
    assert len(loaded.smtp_listeners) == 2


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    """Some editors leave one, and nobody sees it."""
    assert load(tmp_path, penstock="\ufeff" + LISTENER).smtp_listeners


@pytest.mark.parametrize("own", ["a b", "", "12345", "x" * 300])
def test_a_host_with_an_unusable_name_needs_one_in_the_file(tmp_path: Path, own: str) -> None:
    """We greet nobody with a name that is none."""
    (tmp_path / "penstock.toml").write_text(LISTENER)
    with pytest.raises(ConfigError, match=r"node\.hostname: is missing, and the host's own name") as caught:
        config.load(tmp_path / "penstock.toml", hostname=lambda: own)
    assert len(caught.value.problems) == 1
    (tmp_path / "penstock.toml").write_text('[node]\nhostname = "a.example"\n' + LISTENER)
    assert config.load(tmp_path / "penstock.toml", hostname=lambda: own).node.hostname == "a.example"


def test_a_host_that_does_not_say_its_name_needs_one_in_the_file(tmp_path: Path) -> None:
    """The system's own error is told."""

    def silent() -> str:
        raise OSError(5, "Input/output error")

    (tmp_path / "penstock.toml").write_text(LISTENER)
    with pytest.raises(ConfigError, match=r"does not say its own name: .*Input/output error"):
        config.load(tmp_path / "penstock.toml", hostname=silent)


def test_problems_come_file_by_file_in_the_order_of_the_file(tmp_path: Path) -> None:
    """Somebody mends them from the top."""
    lines = problems(
        tmp_path,
        penstock='[events]\nmax_file_size = 1\n[node]\nworkers = 0\n[files]\nqueues = "q.toml"\n',
        q='[queue.default]\nmax_age = true\ndefault_tenant = "x"\n',
    )
    assert [line.split(": ")[:2] for line in lines] == [
        ["penstock.toml", "events.max_file_size"],
        ["penstock.toml", "node.workers"],
        ["penstock.toml", "listener.smtp"],
        ["q.toml", "queue.default.max_age"],
        ["q.toml", "queue.default.default_tenant"],
    ]


class Disk:
    """Reads files and counts how often each was read."""

    def __init__(self) -> None:
        self.reads: list[str] = []

    def __call__(self, path: Path) -> bytes:
        self.reads.append(path.name)
        return read_file(path)


def test_every_file_is_read_once_and_its_octets_are_kept(tmp_path: Path) -> None:
    """An epoch is these octets: from them alone the same configuration comes again, whatever is on disk by then."""
    load(
        tmp_path,
        penstock=LISTENER + '[files]\nqueues = ["a.toml", "b.toml"]\nshaping = "c.toml"\n',
        a="[tenant.one]\n",
        b="[tenant.two]\n",
        c="[default]\nsmtp_port = 26\n",
    )
    disk, path = Disk(), tmp_path / "penstock.toml"
    loaded = config.load_whole(path, hostname=lambda: "host.example", read=disk)
    assert disk.reads == ["penstock.toml", "a.toml", "b.toml", "c.toml"]
    assert loaded.files == {str(tmp_path / name): (tmp_path / name).read_bytes() for name in disk.reads}
    for name in disk.reads:
        (tmp_path / name).write_text("changed = [")
    again = config.load_whole(
        path, hostname=lambda: "host.example", read=lambda path: loaded.files[str(path)]
    )
    assert again == loaded


def test_no_file_is_made_or_changed(tmp_path: Path) -> None:
    """Loading and checking look only."""
    loaded = load(tmp_path, penstock=root())
    assert config.check_data_dir(loaded.node.data_dir) == []
    assert [path.name for path in tmp_path.iterdir()] == ["penstock.toml"]
