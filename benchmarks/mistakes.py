"""Mistakes that operators make in configuration files, and what must be said of each.

Data for two readers: the tests, which load them in their own process, and the acceptance check that gives each to ``penstock check`` and to
``penstock serve``. A mistake is a folder of files; its root file is ``penstock.toml``. What only goes wrong beside another program, or on another
host (a port in use, an address of somebody else), is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

ROOT: Final = "penstock.toml"
NOT_YET: Final = "is not yet supported in this version"


class Mistake(msgspec.Struct, frozen=True):
    """One folder. ``files`` maps paths in it to their content (None: a directory).

    ``problems`` has an entry for each problem that must be reported, and none beyond: texts that all stand in the one line about it.
    """

    name: str
    files: Mapping[str, str | bytes | None]
    problems: tuple[tuple[str, ...], ...]


def write(mistake: Mistake, folder: Path) -> Path:
    """Make the folder of a mistake; the path of its root file, which may be missing."""
    for name, content in mistake.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder / ROOT


def root(node: str = "", smtp: str = "", rest: str = "") -> str:
    """A root file that is right but for what is added to it: lines of ``[node]``, of its one ``[[listener.smtp]]``, and whole tables."""
    lines = [
        "[node]",
        *([] if "hostname" in node else ['hostname = "mta1.example.com"']),
        *([] if "data_dir" in node else ['data_dir = "data"']),
        node,
        "[[listener.smtp]]",
        *([] if "listen =" in smtp else ['listen = ["127.0.0.1:0"]']),
        smtp,
        rest,
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _root(name: str, *fragments: str, node: str = "", smtp: str = "", rest: str = "") -> Mistake:
    """A mistake in the root file with one problem."""
    return Mistake(name, {ROOT: root(node, smtp, rest)}, ((ROOT, *fragments),))


def _queues(name: str, text: str, *fragments: str) -> Mistake:
    """A mistake in ``queues.toml`` with one problem."""
    files = {ROOT: root(rest='[files]\nqueues = "queues.toml"'), "queues.toml": text}
    return Mistake(name, files, (("queues.toml", *fragments),))


def _shaping(name: str, text: str, *fragments: str) -> Mistake:
    """A mistake in ``shaping.toml`` with one problem."""
    files = {ROOT: root(rest='[files]\nshaping = "shaping.toml"'), "shaping.toml": text}
    return Mistake(name, files, (("shaping.toml", *fragments),))


def _policy(name: str, text: str | bytes, *fragments: str) -> Mistake:
    """A mistake in ``policy.py`` with one problem."""
    return Mistake(
        name, {ROOT: root(node='policy = "policy.py"'), "policy.py": text}, (("policy.py", *fragments),)
    )


FILES: Final = (
    Mistake("the root file is missing", {"other.toml": ""}, ((ROOT, "does not exist", "-c", "$PENSTOCK_CONFIG"),)),
    Mistake("the root file is a directory", {ROOT: None}, ((ROOT, "is a directory", "name a file"),)),
    Mistake("the root file is empty", {ROOT: ""},
            ((ROOT, "listener.smtp", "at least one is needed", 'add [[listener.smtp]] with listen = ["127.0.0.1:2525"]'),)),
    Mistake("the root file is not UTF-8", {ROOT: b'[node]\n# caf\xe9\n'}, ((ROOT, "line 2, column 6", "0xE9 is not valid UTF-8", "save"),)),
    Mistake("a file is too big", {ROOT: b"#" * (16 * 1024 * 1024 + 1)}, ((ROOT, "is too big", "at most 16 MiB"),)),
    _root("a listed file is missing", "no-queues.toml: does not exist", "files.queues in ", " names it", rest='[files]\nqueues = "no-queues.toml"'),
    _root("a listed file is below a file", "penstock.toml/queues.toml: does not exist", "no directory",
          rest='[files]\nqueues = "penstock.toml/queues.toml"'),
    Mistake("a listed file is a directory", {ROOT: root(rest='[files]\nshaping = ["folder"]'), "folder": None},
            (("folder", "is a directory", "name a file"),)),
    _root("a file lists itself", "files.queues", "penstock.toml is listed already", "once", rest='[files]\nqueues = "./penstock.toml"'),
    _root("a file is listed twice", "files.queues[1]", "the same as [0]", rest='[files]\nqueues = ["q.toml", "q.toml"]'),
    _root("a file is a URL", "files.shaping", "URL is not yet supported in this version",
          rest='[files]\nshaping = "https://example.com/shaping.toml"'),
    _root("a file is JSON", "files.queues", "JSON is not yet supported in this version", rest='[files]\nqueues = "queues.json"'),
    _root("a kind of file is not yet supported", "files.sources", "not yet supported in this version", rest='[files]\nsources = "sources.toml"'),
)  # fmt: skip

SYNTAX: Final = (
    _root("text without quotes", "line 3, column 12", "not valid TOML: invalid value", "in quotes", node="data_dir = data"),
    _root("a key twice", "line 5", "cannot overwrite a value", "give it once", node="workers = 1\nworkers = 1"),
    _root("a table twice", "line 6, column 6", "declare ('node',) twice", "put its keys together", rest="[node]\n"),
    _root("a key without a value", "expected '=' after a key", "key = value", node="workers"),
    _root("quotes that are not closed", "line 4", "not valid TOML", "quotes", node='policy = "policy.py'),
    _root("a bracket that is not closed", "line 6", "array", "close the bracket", smtp='relay_hosts = ["127.0.0.1"'),
    _root("a number that never ends", "line 4, column 11", "a number has too many digits", "64 bits", node=f"workers = {'9' * 5000}"),
    _root("brackets without end", "nested too deeply", node=f"workers = {'[' * 20_000}"),
    _queues("a data file that is no TOML", "[queue.default\n", "line 1, column 15", "expected ']'", "close the bracket"),
)  # fmt: skip

TYPES: Final = (
    Mistake("an array of tables for a table", {ROOT: '[[node]]\nhostname = "a.example"\n[[listener.smtp]]\nlisten = ["127.0.0.1:0"]\n'},
            ((ROOT, "node", "expected a table, found an array", "write [node], with single brackets"),)),
    Mistake("a table for an array of tables", {ROOT: '[node]\nhostname = "a.example"\n[listener.smtp]\nlisten = ["127.0.0.1:0"]\n'},
            ((ROOT, "listener.smtp", "expected an array of tables, found a table", "write [[listener.smtp]], with double brackets"),)),
    Mistake("a value for a table", {ROOT: 'events = "on"\n' + root()}, ((ROOT, "events", 'expected a table, found a string ("on")',
          "write [events]"),)),
    _root("a number in quotes", "listener.smtp[0].max_connections", 'expected an integer, found a string ("100")', "without quotes: 100",
          smtp='max_connections = "100"'),
    _root("a float for an integer", "max_connections", "expected an integer, found a float (100.0)", smtp="max_connections = 100.0"),
    _root("a boolean for an integer", "max_connections", "expected an integer, found a boolean (true)", smtp="max_connections = true"),
    _root("a date for a duration", "listener.smtp[0].client_timeout", "expected a duration", "found a date", smtp="client_timeout = 2026-01-01"),
    _root("a time for a duration", "client_timeout", "expected a duration", "found a time", smtp="client_timeout = 00:05:00"),
    _root("a boolean for a size", "max_message_size", "expected a size", "found a boolean (false)", smtp="max_message_size = false"),
    _root("one text for a list", "listener.smtp[0].listen", 'expected a list', 'found a string ("127.0.0.1:2525")', "in brackets",
          smtp='listen = "127.0.0.1:2525"'),
    _root("a number for a text", "node.hostname", "expected a domain name, found an integer (5)", "mta1.example.com", node="hostname = 5"),
    _root("a table for a text", "node.policy", "expected a path, found a table", node='policy = { file = "policy.py" }'),
    _queues("a text for a boolean", 'remove_tenant_header = "no"\n', "remove_tenant_header", 'expected true or false, found a string ("no")',
            "without quotes"),
    _queues("a value for a tenant", "[tenant]\nmytenant = true\n", "tenant.mytenant", "expected a table, found a boolean (true)",
            "write [tenant.mytenant]"),
)  # fmt: skip

KEYS: Final = (
    _root("a misspelt key", "node.hostnme", "unknown key", "did you mean 'hostname'?", node='hostname = "a.example"\nhostnme = "b.example"'),
    _root("a key in capitals and dashes", "node.Memory-Limit", "unknown key", "did you mean 'memory_limit'?", node='Memory-Limit = "1GiB"'),
    _root("an unknown table", "sevrice", "unknown key", "known here: node, listener, files, dns, spool, events", rest="[sevrice]"),
    _root("a misspelt table", "lisener", "unknown key", "did you mean 'listener'?", rest='[[lisener.smtp]]\nlisten = ["127.0.0.1:0"]'),
    _root("a key of another table", "node.max_connections", "unknown key here", "it belongs in [[listener.smtp]]", node="max_connections = 10"),
    _root("a key of the next version", "listener.smtp[0].trace_headers", NOT_YET, smtp="trace_headers = {}"),
    _root("TLS on the HTTP listener", "listener.http[0].use_tls", NOT_YET, rest='[[listener.http]]\nlisten = ["127.0.0.1:0"]\nuse_tls = true'),
    _root("a listener's key for one network", 'listener.smtp[0].peer."192.0.2.0/24".max_connections', "unknown key here",
          "it belongs in [[listener.smtp]]", rest='[listener.smtp.peer."192.0.2.0/24"]\nmax_connections = 10'),
    _root("a misspelt key for one network", 'listener.smtp[0].via."192.0.2.1".bannner', "unknown key", "did you mean 'banner'?",
          rest='[listener.smtp.via."192.0.2.1"]\nbannner = "hello"'),
    _root("a client certificate", "listener.smtp[0].tls_require_client_ca", "unknown key", "did you mean 'tls_required_client_ca'?",
          smtp='tls_require_client_ca = "ca.pem"'),
    _root("a durability that there is none of", "spool.durability", '"none" is no value', 'write "fsync" or "os"',
          rest='[spool]\ndurability = "none"'),
    _root("a reserve of more than there is", "spool.min_free_space", '"100%" is no share of a file system', 'write "5%", at most "90%"',
          rest='[spool]\nmin_free_space = "100%"'),
    _root("an option of KumoMTA's spool", "spool.min_free_inodes", NOT_YET, rest="[spool]\nmin_free_inodes = 100"),
    _root("a lane for nothing", "lane[0].match.domain", "is missing", 'write domain = ["example.com", "*.example.net"]',
          rest='[[lane]]\nname = "outbound1"'),
    _root("a lane of a pool", "lane[0].match.pool", NOT_YET, rest='[[lane]]\nname = "a"\nmatch = { pool = ["p"], domain = ["example.com"] }'),
    _root("a lane that is called like a general one", "lane[0].name", '"0" is no name of a lane', "write a letter",
          rest='[[lane]]\nname = "0"\nmatch = { domain = ["example.com"] }'),
    _root("two lanes of one name", "lane[1].name", 'there is a lane "a" already', "give this one another name",
          rest='[[lane]]\nname = "a"\nmatch = { domain = ["a.example"] }\n[[lane]]\nname = "a"\nmatch = { domain = ["b.example"] }'),
    _root("a domain of two lanes", "lane[1].match.domain", 'lane "b" and lane "a" would both have the mail to "a.example"', "leave it out",
          rest='[[lane]]\nname = "a"\nmatch = { domain = ["A.example"] }\n[[lane]]\nname = "b"\nmatch = { domain = ["b.example", "a.example"] }'),
    _root("a domain of two lanes, for one of them by a pattern", "lane[1].match.domain",
          'lane "b" and lane "a" would both have the mail to "x.a.example"', "leave it out",
          rest='[[lane]]\nname = "a"\nmatch = { domain = ["*.a.example"] }\n[[lane]]\nname = "b"\nmatch = { domain = ["a.example", "x.a.example"] }'),
    Mistake("no SMTP listener", {ROOT: '[node]\nhostname = "a.example"\n[[listener.http]]\nlisten = ["127.0.0.1:0"]\n'},
            ((ROOT, "listener.smtp", "at least one is needed", "add [[listener.smtp]]"),)),
    Mistake("a listener that listens nowhere", {ROOT: '[node]\nhostname = "a.example"\n[[listener.smtp]]\nbanner = "hello"\n'},
            ((ROOT, "listener.smtp[0].listen", "is missing", 'write listen = ["0.0.0.0:2525", "[::]:2525"]'),)),
    _queues("a queue's key at the top", 'max_age = "1d"\n', "max_age", "unknown key here",
            "it belongs in [tenant.'...'] or in [queue.default] or in [queue.'...']"),
    _queues("a misspelt queue key", '[queue.default]\nretry_intervall = "5m"\n', "queue.default.retry_intervall", "unknown key",
            "did you mean 'retry_interval'?"),
    _queues("a strategy", "[queue.'gmail.com']\nstrategy = 'TimerWheel'\n", 'queue."gmail.com".strategy', NOT_YET),
    _queues("a protocol, which is a table", "[queue.'gmail.com'.protocol]\nsmtp = {}\n", 'queue."gmail.com".protocol', NOT_YET),
    _queues("a rate of all of a domain", "[queue.'gmail.com']\noverall_max_message_rate = '5/m'\n", 'queue."gmail.com".overall_max_message_rate',
            "unknown key here", "it belongs in [tenant.'...']"),
    _queues("a misspelt default of queues", "[queue.defualt]\nmax_age = '1d'\n", "queue.defualt", "unknown key", "did you mean 'default'?"),
    _queues("all domains", "[queue.'*']\nmax_age = '1d'\n", 'queue."*"', "is no domain", "[queue.default]"),
    _queues("a wildcard in the middle", "[queue.'a.*.com']\nmax_age = '1d'\n", 'queue."a.*.com"', "is no valid domain name"),
    _queues("a domain with a value", "[queue]\n'gmail.com' = '5m'\n", 'queue."gmail.com"', "unknown key"),
    _queues("a domain twice", "[queue.'gmail.com']\nmax_age = '1d'\n[queue.'GMAIL.com']\nmax_age = '2d'\n", 'queue."GMAIL.com"',
            "names the same thing twice", 'queue."gmail.com" is there already'),
    _queues("a tenant of a queue that does not exist", "[tenant.'mytenant']\n[queue.'gmail.com'.'mytennant']\nmax_age = '1d'\n",
            'queue."gmail.com".mytennant', 'there is no tenant "mytennant"', "did you mean 'mytenant'?"),
    _queues("a routing domain with a port", "[queue.default]\nrouting_domain = 'smart.example:2525'\n", "queue.default.routing_domain",
            "is no valid domain name"),
    _queues("a share of nothing", "[tenant.'mytenant']\nshare = 0\n", "tenant.mytenant.share", "0 is out of range", "write 0.01 to 10000"),
    _queues("a rate without a period", "[tenant.'mytenant']\noverall_max_message_rate = '100'\n", "tenant.mytenant.overall_max_message_rate",
            '"5/minute"'),
    _queues("one authorization id", "[tenant.'mytenant']\nrequire_authz = 'daniel'\n", "tenant.mytenant.require_authz", "write it in brackets"),
    _queues("a misspelt tenant key", "[tenant.'mytenant']\nmax_mesage_rate = '5/m'\n", "tenant.mytenant.max_mesage_rate", "unknown key",
            "did you mean 'max_message_rate'?"),
    _queues("scheduling by the tenant's field", 'tenant_header = "X-A"\nscheduling_header = "x-a"\n', "scheduling_header",
            '"x-a" names the tenant already', "give scheduling_header a header field of its own"),
    _shaping("shaping of one domain", '["example.com"]\nconnection_limit = 2\n', '"example.com"', NOT_YET),
    _shaping("shaping of a provider", '[provider."google"]\nprovider_connection_limit = 5\n', "provider", NOT_YET),
    _shaping("a misspelt default", '["defualt"]\nsmtp_port = 2525\n', "defualt", "unknown key", "did you mean 'default'?"),
    _shaping("a rate limit", '["default"]\nmax_connection_rate = "100/s"\n', "default.max_connection_rate", NOT_YET),
    _shaping("a key outside of a table", "smtp_port = 2525\n", "smtp_port", "unknown key here", "it belongs in [default]"),
)  # fmt: skip

VALUES: Final = (
    _root("a host name with a space", "node.hostname", '"mta 1" is no valid domain name', "mta1.example.com", node='hostname = "mta 1"'),
    _root("an address for a host name", "node.hostname", '"[192.0.2.1]" is no valid domain name', node='hostname = "[192.0.2.1]"'),
    _root("no workers", "node.workers", "0 is out of range", 'write 1 to 256, or "auto"', node="workers = 0"),
    _root("a user by number", "node.user", '"1000" is no name of a user', "write the name", node='user = "1000"'),
    _root("a misspelt auto", "node.memory_limit", "'atuo' is no size", 'or "auto"', node='memory_limit = "atuo"'),
    _root("too little memory", "node.memory_limit", '"1KiB" is out of range', "16MiB", node='memory_limit = "1KiB"'),
    _root("a size without its unit", "max_message_size", "'20 MX' is no size", '"20MiB"', smtp='max_message_size = "20 MX"'),
    _root("messages of no size", "max_message_size", "0 is out of range", "write 1B to 2GiB", smtp="max_message_size = 0"),
    _root("a duration without its unit", "client_timeout", "'5 parsecs' is no duration", '"5m"', smtp='client_timeout = "5 parsecs"'),
    _root("no time at all", "client_timeout", "0 is too short", "at least 0.001s", smtp="client_timeout = 0"),
    _root("a negative duration", "client_timeout", "-5 is out of range", smtp="client_timeout = -5"),
    _root("lines that are too short", "line_length_hard_limit", "77 is out of range", "write 78 to 1_000_000", smtp="line_length_hard_limit = 77"),
    _root("a negative limit", "max_connections", "-1 is out of range", "write 1 to 1_000_000_000", smtp="max_connections = -1"),
    _root("an integer beyond 64 bits", "max_connections", "the integer is beyond 64 bits", smtp="max_connections = 0xffffffffffffffffff"),
    _root("a misspelt way of encryption", "listener.smtp[0].tls", '"startls" is no value of this option', 'did you mean "starttls"?',
          smtp='tls = "startls"'),
    _root("encryption by true and false", "listener.smtp[0].tls", 'expected "off" or "starttls" or "implicit", found a boolean (true)',
          smtp="tls = true"),
    _root("a certificate that is not there", "listener.smtp[0].tls_certificate", "tls/cert.pem does not exist", "name a file that does",
          smtp='tls_certificate = "tls/cert.pem"'),
    Mistake("a certificate without PEM", {ROOT: root(smtp='tls_certificate = "cert.pem"'), "cert.pem": b"\x30\x82\x01\x0a"},
            ((ROOT, "listener.smtp[0].tls_certificate", "cert.pem has no certificate in PEM", "-----BEGIN CERTIFICATE-----"),)),
    Mistake("a key where a certificate belongs", {ROOT: root(smtp='tls_required_client_ca = "ca.pem"'), "ca.pem": "-----BEGIN PRIVATE KEY-----\n"},
            ((ROOT, "listener.smtp[0].tls_required_client_ca", "ca.pem has no certificate in PEM"),)),
    Mistake("a directory of authorities", {ROOT: root(node='tls_ca_file = "certs"'), "certs": None},
            ((ROOT, "node.tls_ca_file", "certs is no file", "name a file in PEM"),)),
    _root("a rate without its period", "max_auth_failures", "'10' is no rate", '"5/minute"', smtp='max_auth_failures = "10"'),
    _root("a rate of no known period", "max_failures_per_client", "'fortnight' is no period of a rate",
          smtp='max_failures_per_client = "5/fortnight"'),
    _root("a number for a rate", "max_auth_failures", 'expected a rate such as "10/minute", found an integer (10)', smtp="max_auth_failures = 10"),
    _root("no octet a second", "min_data_rate", "0 is out of range", "write 1B to 1GiB", smtp="min_data_rate = 0"),
    _root("an EHLO keyword that nobody offers", "discard_ehlo_keywords[1]", '"CHUNKNG" is no EHLO keyword of ours', 'did you mean "CHUNKING"?',
          smtp='discard_ehlo_keywords = ["dsn", "CHUNKNG"]'),
    _root("a proxy by name", "listener.smtp[0].allow_proxy[0]", '"haproxy.example" is no IP address', smtp='allow_proxy = ["haproxy.example"]'),
    _root("metadata that is too much with an address's own", "listener.smtp[0].meta", "has 2 names and 5002 octets", "4096 octets",
          smtp='meta = {{ a = "{}" }}\n[listener.smtp.via."10.0.0.0/8"]\nmeta = {{ b = "{}" }}'.format("x" * 3000, "y" * 2000)),
    _root("metadata that is no text", 'listener.smtp[0].meta."floor"', "expected a text, found an integer (3)", "in quotes",
          smtp="meta = { floor = 3 }"),
    _root("a network that is none", "listener.smtp[0].via.office", '"office" is no IP address', rest="[listener.smtp.via.office]"),
    _root("a network twice", 'listener.smtp[0].peer."::1/128"', "names the same thing twice",
          rest='[listener.smtp.peer]\n"::1" = {}\n"::1/128" = {}'),
    _root("implicit TLS for one network", 'listener.smtp[0].peer."192.0.2.1".tls', '"implicit" is no value of this option',
          'write "off" or "starttls"',
          rest='[listener.smtp.peer."192.0.2.1"]\ntls = "implicit"'),
    _root("no thread for the policy", "node.policy_threads", "0 is out of range", "write 1 to 256", node="policy_threads = 0"),
    _root("a misspelt choice", "invalid_line_endings", '"deny" is no value of this option', 'did you mean "Deny"?',
          smtp='invalid_line_endings = "deny"'),
    _root("a banner of two lines", "banner", "printable ASCII", smtp='banner = "hello\\r\\n220 world"'),
    _root("an address without a port", "listener.smtp[0].listen[1]", '"127.0.0.2" has no port', smtp='listen = ["127.0.0.1:0", "127.0.0.2"]'),
    _root("a name for an address", "listen[0]", '"localhost" is no IP address', 'write "127.0.0.1:2525"', smtp='listen = ["localhost:2525"]'),
    _root("IPv6 without brackets", "listen[0]", '"::1:2525" is no address with a port', '"[::1]:2525"', smtp='listen = ["::1:2525"]'),
    _root("a port that does not exist", "listen[0]", '"65536" is no port', "write 0 to 65535", smtp='listen = ["127.0.0.1:65536"]'),
    _root("nowhere to listen", "listener.smtp[0].listen", "is empty", "at least one", smtp="listen = []"),
    _root("a network with host bits", "listener.smtp[0].relay_hosts[1]", '"10.0.0.1/8" has bits set beyond its prefix', '"10.0.0.0/8"',
          '"10.0.0.1"',
          smtp='relay_hosts = ["192.0.2.0/24", "10.0.0.1/8"]'),
    _root("a prefix that is too long", "relay_hosts[0]", '"/33" is no prefix length', "/0 to /32", smtp='relay_hosts = ["10.0.0.0/33"]'),
    _root("a netmask", "relay_hosts[0]", '"/255.0.0.0" is no prefix length', smtp='relay_hosts = ["10.0.0.0/255.0.0.0"]'),
    _root("a name for a network", "listener.http[0].trusted_hosts[0]", '"localhost" is no IP address',
          rest='[[listener.http]]\nlisten = ["127.0.0.1:0"]\ntrusted_hosts = ["localhost"]'),
    _root("a name server by name", "dns.nameservers[0]", '"dns.example" is no IP address', 'write "127.0.0.1:53"',
          rest='[dns]\nnameservers = ["dns.example"]'),
    _root("a static MX that is no name", 'dns.static."example.test".mx[0]', '"mx!.example.test" is no valid domain name',
          rest='[dns.static]\n"example.test" = { mx = ["10 mx!.example.test"] }'),
    _root("a static name that is none", 'dns.static."no name"', '"no name" is no valid domain name',
          rest='[dns.static]\n"no name" = { a = ["127.0.0.1"] }'),
    _root("a static name twice", 'dns.static."Example.test"', "names the same thing twice", 'dns.static."example.test" is there already',
          rest='[dns.static]\n"example.test" = {}\n"Example.test" = {}'),
    _root("IPv6 under a", 'dns.static."mx.test".a[0]', '"::1" is no IPv4 address', "under aaaa", rest='[dns.static]\n"mx.test" = { a = ["::1"] }'),
    _root("event files of no size", "events.max_file_size", "'lots' is no size", rest='[events]\nmax_file_size = "lots"'),
    _root("event files for no time", "events.max_segment_duration", '"500ms" is too short', "at least 1s",
          rest='[events]\nmax_segment_duration = "500ms"'),
    _queues("a tenant that cannot be a queue's name", "[tenant.'a@b']\n", 'tenant."a@b"', '"a@b" cannot name a tenant', "none of : @ !"),
    _queues("a header name with a space", 'tenant_header = "X Tenant"\n', "tenant_header", '"X Tenant" is no name of a header field', '"X-Tenant"'),
    _queues("a header name with its colon", 'tenant_header = "X-Tenant:"\n', "tenant_header", "ends with a colon", "without it"),
    _queues("no time between attempts", '[queue.default]\nretry_interval = "0s"\n', "queue.default.retry_interval", '"0s" is too short'),
    _queues("a lifetime of centuries", '[queue.default]\nmax_age = "60000 days"\n', "queue.default.max_age", "out of range", "100 years"),
    _shaping("port 0 to send to", '["default"]\nsmtp_port = 0\n', "default.smtp_port", "0 is out of range", "write 1 to 65535"),
    _shaping("no connections", '["default"]\nconnection_limit = 0\n', "default.connection_limit", "0 is out of range", "write 1 to"),
    _shaping("a limit in words", '["default"]\nconnection_limit = "ten"\n', "default.connection_limit", '"ten" is no number', '"1,000"'),
    _shaping("TLS in lower case", '["default"]\nenable_tls = "required"\n', "default.enable_tls", "is no value", 'did you mean "Required"?'),
    _shaping("TLS by true and false", '["default"]\nenable_tls = true\n', "default.enable_tls", "found a boolean (true)"),
    _shaping("a certificate to show", '["default"]\ntls_certificate = "cert.pem"\n', "default.tls_certificate", NOT_YET),
    _shaping("a password that is a number", '["default"]\nsmtp_auth_plain_username = "me"\nsmtp_auth_plain_password = 12345\n',
             "default.smtp_auth_plain_password: expected a text; write it in quotes"),
    _shaping("a misspelt TLS mode", '["default"]\nenable_tls = "Opportunistc"\n', "default.enable_tls", "is no value",
          'did you mean "Opportunistic"?'),
)  # fmt: skip

ACROSS: Final = (
    _root("two listeners on one port", "listener.http[0].listen", "127.0.0.1:2525 is taken already", "listener.smtp[0].listen listens there",
          smtp='listen = ["127.0.0.1:2525"]', rest='[[listener.http]]\nlisten = ["127.0.0.1:2525"]'),
    _root("one port twice", "listener.smtp[0].listen[1]", "the same as [0]", smtp='listen = ["127.0.0.1:2525", "127.0.0.1:2525"]'),
    _root("a key without a certificate", "listener.smtp[0].tls_private_key", "there is no certificate for this key", "give tls_certificate beside it",
          smtp='tls_private_key = "key.pem"'),
    _root("a key for one network, and no certificate", 'listener.smtp[0].via."192.0.2.1".tls_private_key', "there is no certificate for this key",
          rest='[listener.smtp.via."192.0.2.1"]\ntls_private_key = "key.pem"'),
    _root("STARTTLS within TLS", "listener.smtp[0].discard_ehlo_keywords", 'STARTTLS is not offered with tls = "implicit"', "leave it out",
          smtp='tls = "implicit"\ndiscard_ehlo_keywords = ["STARTTLS"]'),
    _root("a network without the listener's TLS", 'listener.smtp[0].peer."192.0.2.1".tls', "begins before anything can differ",
          smtp='tls = "implicit"', rest='[listener.smtp.peer."192.0.2.1"]\ntls = "off"'),
    Mistake("certificates of clients without TLS", {ROOT: root(smtp='tls = "off"\ntls_required_client_ca = "ca.pem"'), "ca.pem": ""},
            ((ROOT, "listener.smtp[0].tls_required_client_ca", 'tls = "off" makes no use of it', 'write tls = "starttls"'),
             (ROOT, "listener.smtp[0].tls_required_client_ca", "ca.pem has no certificate in PEM"))),
    _root("a PROXY header that nobody may send", "listener.smtp[0].require_proxy_protocol", "nobody may send the header that is required",
          "allow_proxy", smtp="require_proxy_protocol = true"),
    _shaping("a password of nobody", '["default"]\nsmtp_auth_plain_password = "secret"\n', "default.smtp_auth_plain_password",
             "there is no smtp_auth_plain_username with it", "give both, or neither"),
    _shaping("a name without its password", '["default"]\nsmtp_auth_plain_username = "me"\n', "default.smtp_auth_plain_username",
             "there is no smtp_auth_plain_password with it"),
    _shaping("a password that is never given in clear",
             '["default"]\nenable_tls = "Disabled"\nsmtp_auth_plain_username = "me"\nsmtp_auth_plain_password = "secret"\n',
             "default.smtp_auth_plain_username", "leaves no encryption, so AUTH is never done", "write allow_smtp_auth_plain_without_tls = true"),
    _shaping("a password that no certificate is good for",
             '["default"]\nenable_tls = "RequiredInsecure"\nsmtp_auth_plain_username = "me"\nsmtp_auth_plain_password = "secret"\n',
             "default.smtp_auth_plain_username", "no certificate is verified", "write allow_smtp_auth_plain_without_valid_certificate = true"),
    _queues("a default tenant that does not exist", "default_tenant = 'nobody'\n[tenant.'mytenant']\n", "default_tenant",
          'there is no tenant "nobody"',
            "add [tenant.'nobody']"),
    _queues("a misspelt default tenant", "default_tenant = 'mytennant'\n[tenant.'mytenant']\n", "default_tenant", 'there is no tenant "mytennant"',
            "did you mean 'mytenant'?"),
    _queues("one header for both", 'tenant_header = "X-Id"\ncampaign_header = "x-id"\n', "campaign_header", '"x-id" names the tenant already'),
    Mistake("a data directory below a file", {ROOT: root(node='data_dir = "taken/data"'), "taken": ""},
            ((ROOT, "node.data_dir", "taken is no directory"),)),
    Mistake("a data directory with a file in the way", {ROOT: root(), "data/events": ""}, ((ROOT, "node.data_dir", "events is no directory"),)),
    Mistake(
        "many problems in many files",
        {
            ROOT: root(node='hostname = "-"\nworkers = 0', smtp='relay_hosts = ["10.0.0.1/8", "no"]\ntls = "implict"',
                       rest='[files]\nqueues = ["q1.toml", "q2.toml", "q3.toml"]\nshaping = "shaping.toml"\n[lane]'),
            "q1.toml": "default_tenant = 'a'\n[queue.default]\nmax_age = '1 fortnight'\n",
            "q2.toml": "[tenant.'b']\nprovider_name = []\n",
            "shaping.toml": '["default"]\nconect_timeout = "1m"\nidle_timeout = []\n',
        },
        (
            (ROOT, "node.hostname"), (ROOT, "node.workers"), (ROOT, "relay_hosts[0]"), (ROOT, "relay_hosts[1]"), (ROOT, "listener.smtp[0].tls"),
            (ROOT, "lane"), ("q1.toml", "queue.default.max_age"), ("q1.toml", "default_tenant", 'there is no tenant "a"'),
            ("q2.toml", "tenant.b.provider_name", "not yet supported"), ("q3.toml", "does not exist"),
            ("shaping.toml", "default.conect_timeout", "did you mean 'connect_timeout'?"), ("shaping.toml", "default.idle_timeout", "an array"),
        ),
    ),
)  # fmt: skip

POLICY: Final = (
    Mistake("a policy that is not there", {ROOT: root(node='policy = "policy.py"')}, (("policy.py", "does not exist", "node.policy"),)),
    Mistake("a policy that is a directory", {ROOT: root(node='policy = "policy.py"'), "policy.py": None}, (("policy.py", "is a directory"),)),
    _policy("a policy that does not parse", "x = 1\ndef f(:\n", "line 2, column 7", "does not parse", "def f(:"),
    _policy("a policy with broken indentation", "def f():\nreturn 1\n", "line 2", "does not parse", "indented block"),
    _policy("a policy that is not UTF-8", b"# caf\xe9\n", "does not parse"),
    _policy("a policy with an octet 0", b"x = 1\0\n", "does not parse"),
    _policy("a policy without its library", "import os\nimport penstock_no_such_library\n", "line 2", "ModuleNotFoundError",
            "install penstock_no_such_library"),
    _policy("a policy that raises", "def half(x):\n    return x / 0\n\nhalf(1)\n", "line 2", "raised ZeroDivisionError: division by zero"),
    _policy("a policy that ends the program", "import sys\nsys.exit(3)\n", "line 2", "raised SystemExit: 3"),
    _policy("a hook with too few parameters", "def on_rcpt(session, recipient):\n    return None\n", "line 1",
            "hook on_rcpt cannot be called with what it is given", "write: def on_rcpt(session, transaction, recipient)"),
    _policy("a hook of pools", "egress_pool = lambda *names: None\n", "hook egress_pool is not yet supported in this version"),
    _policy("a hook of queues as KumoMTA's", "def queue_config(domain, tenant, campaign, routing_domain):\n    return {}\n", "line 1",
            "hook queue_config cannot be called with what it is given", "write: def queue_config(name)"),
    _policy("a misspelt hook", "async def on_rctp(session):\n    pass\n", "line 1", "unknown hook on_rctp", "did you mean 'on_rcpt'?"),
)  # fmt: skip

MISTAKES: Final = (*FILES, *SYNTAX, *TYPES, *KEYS, *VALUES, *ACROSS, *POLICY)
