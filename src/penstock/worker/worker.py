"""Wires the parts of one process, starts them, and ends them in order: no new mail first, then what is under way, then the log."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import secrets
import socket
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from penstock.ingress.budget import Budget
from penstock.ingress.desk import Desk
from penstock.ingress.listener import Listener
from penstock.ipc.feed_words import scribe_socket
from penstock.lane.lane import Lane
from penstock.mail.configuration import Configuration, DnsConfig, PathConfig
from penstock.mail.duration import ByteCount, MonotonicTime, Seconds, to_next_second
from penstock.mail.ids import IdSource
from penstock.mail.ports import Clock, LogPosition, SpoolError
from penstock.mail.records import QueuedMessage, SpoolRecord
from penstock.mail.status import PolicyCounts, Rates, RateWindow, Snapshot, Status, Tally, TenantRates
from penstock.net.dns import DnsResolver
from penstock.net.listening import endpoint_of
from penstock.net.router import Router
from penstock.net.static import StaticResolver
from penstock.net.tls import ClientContexts, ServerContexts
from penstock.policy import Policy, PolicyRunner
from penstock.policy import dns as policy_dns
from penstock.routing.placement import ALONE, Placement
from penstock.spool.durable import DurableSpool
from penstock.spool.files import FileError
from penstock.spool.log import SpoolLog, SpoolOptions
from penstock.spool.places import spool_of
from penstock.worker import memory, report
from penstock.worker.adoption import Adoption
from penstock.worker.crossing import Crossing
from penstock.worker.doors import DoorTelling
from penstock.worker.feed import Feed
from penstock.worker.pace import Pace
from penstock.worker.queue_options import QueueOptions, noting
from penstock.worker.quotas import Quotas

LOG = logging.getLogger(__name__)

#: Descriptors for files, the control socket and HTTP, and the share of all that DNS may need; the rest is for connections, in and out.
_DESCRIPTOR_RESERVE: Final = 64
_DNS_SHARE: Final = 1 / 16
_LAG_WINDOW: Final = 60
#: Of the memory that mail may take, what recent messages may: the rest is for what is coming in.
_RECENT_SHARE: Final = 0.5
#: Octets of recent messages of each spool that is adopted: they go at once.
_ORPHANS_MEMORY: Final = 8 * 1024 * 1024
#: Seconds that outcomes have to be stored at the end, whatever else has taken its time.
_LAST_SYNC: Final = 5.0
#: Of the descriptors that connections share, those that delivery may use.
_OUTBOUND_SHARE: Final = 0.5


class Worker:
    """A process with both roles. Made on a running loop with sockets that are bound: one sequence for each SMTP listener.

    ``descriptors`` is how many files and sockets the process may have open; ``policy`` is the configuration's, loaded.
    ``lane_name`` is its lane, ``placement`` where that and others are the home of paths; they share the memory
    for mail. ``found`` as of ``routing.placement.Homes``. ``orphans`` are lanes that there are no more, whose mail it takes over. ``tell`` tells
    the supervisor something; None: there is none, and no other lane either.
    """

    def __init__(
        self,
        configuration: Configuration,
        sockets: Sequence[Sequence[socket.socket]],
        clock: Clock,
        descriptors: int,
        policy: Policy | None = None,
        lane_name: str = "0",
        placement: Placement = ALONE,
        found: Callable[[str, str], None] = lambda site, lane: None,
        orphans: tuple[str, ...] = (),
        tell: Callable[[msgspec.Struct], None] | None = None,
    ) -> None:
        self.configuration = configuration
        self.clock = clock
        self.started = clock.wall()
        self.memory_limit: ByteCount = memory.limit(configuration.node.memory_limit, _lanes(placement))
        self._loop = asyncio.get_running_loop()
        self._own = [endpoint_of(sock) for group in sockets for sock in group]
        self.tally = Tally()
        ids = IdSource(secrets.randbits(42))
        folder = spool_of(configuration.node.data_dir, lane_name)
        self._durable = DurableSpool(
            folder,
            clock,
            ids,
            self._count,
            SpoolOptions(
                durability=configuration.spool.durability,
                reserve=configuration.spool.min_free_space,
                memory=int(self.memory_limit * _RECENT_SHARE),
            ),
        )
        self.spool = self._durable.log
        scribe = scribe_socket(configuration.node.data_dir)
        self.feed = Feed(lane_name, self.spool, folder, scribe, configuration.epoch)
        self.spool.follower = self.feed
        self._router = self._new_router(configuration.dns)
        connections = max(2, int(descriptors * (1 - _DNS_SHARE)) - _DESCRIPTOR_RESERVE)
        outbound = max(1, int(connections * _OUTBOUND_SHARE))
        #: rates that mail is held by, own ones and those that lanes share
        self.quotas = Quotas(
            clock,
            lambda key: self.lane.opened(key),
            lambda key: None,
            epoch=configuration.epoch,
            is_alone=tell is None,
        )
        if tell is not None:
            self.quotas.connected(tell)
        #: by hook, since the start
        self.policy_counts: dict[str, PolicyCounts] = {}
        runner = _runner(policy, configuration, self.policy_counts)
        #: what holds of each queue
        self.options = QueueOptions(
            configuration.queues,
            runner,
            clock,
            self._loop.call_later,
            lambda name: name in self.lane.scheduler.queues,
            lambda name: self.lane.reread(name),
            noting(self.spool, ids, clock),
        )
        self.lane = Lane(
            spool=self.spool,
            router=self._router,
            clock=clock,
            draw=random.random,
            ids=ids,
            ehlo_name=configuration.node.hostname,
            own_names=_own_names(configuration),
            queue_config=self.options,
            path_config=_path_config(configuration),
            connection_limit=outbound,
            contexts=ClientContexts(configuration.node.tls_ca_file, clock),
            weight_of=lambda tenant: self.configuration.queues.weight_of(tenant),
            rates=Pace(self.quotas, clock),
        )
        # from the beginning: orders are given to it before it starts
        self.lane.scheduler.filling_began()
        self.crossing = Crossing(
            lane_name,
            placement,
            Path(configuration.node.data_dir),
            self.spool,
            self.lane,
            self._router,
            clock,
            ids,
            orphans,
            found,
        )
        self._adoptions = [self._adoption(orphan, ids) for orphan in orphans]
        self._adopting: set[asyncio.Task[None]] = set()
        committer = self.crossing.committer
        self.desk = Desk(
            self.spool,
            committer,
            ids,
            clock,
            Budget(self.memory_limit, lambda: self.spool.held_bytes + committer.held_bytes),
            configuration.queues,
            ServerContexts(clock),
            runner,
            connections - outbound,
            lambda: self.lane.scheduler.octets,
        )
        #: who takes how much, here and elsewhere
        self.doors = DoorTelling(
            self.desk.doors, _lanes(placement), lambda: self.configuration, tell or _nobody, clock
        )
        #: runners of policies that were replaced, until their last hook has ended
        self._retiring: set[asyncio.Task[None]] = set()
        self.listeners = [
            Listener(self.desk, config, group)
            for config, group in zip(configuration.smtp_listeners, sockets, strict=True)
        ]
        self._rates = RateWindow()
        self._tenant_rates = TenantRates()
        self._lags: deque[float] = deque(maxlen=_LAG_WINDOW)
        self._sample_at = 0.0
        self._sampler: asyncio.TimerHandle | None = None
        self._fault: str | None = "starting"
        self._recovering: asyncio.Task[None] | None = None
        #: messages from before the start
        self.recovered_messages = 0
        #: set when mail from before the start is queued again
        self.recovered = asyncio.Event()
        #: set when the server cannot go on
        self.failed = asyncio.Event()

    def _adoption(self, orphan: str, ids: IdSource) -> Adoption:
        node = self.configuration.node
        options = SpoolOptions(
            durability=self.configuration.spool.durability,
            reserve=self.configuration.spool.min_free_space,
            memory=_ORPHANS_MEMORY,
        )
        return Adoption(
            orphan, self.crossing.homes.own, Path(node.data_dir), self.clock, ids, options, self.tally,
            self._new_teller,
        )  # fmt: skip

    def _new_teller(self, orphan: str, spool: SpoolLog, folder: Path) -> Feed:
        """Who tells the scribe of what happens in an orphan's spool."""
        scribe = scribe_socket(self.configuration.node.data_dir)
        return Feed(orphan, spool, folder, scribe, self.configuration.epoch)

    def _adopt(self) -> None:
        """Take over the mail of the orphans."""
        lanes = self.crossing.lanes()
        for adoption in self._adoptions:
            adoption.use(lanes)
            name = f"adopt lane {adoption.orphan}"
            task = self._loop.create_task(adoption.run(), name=name)
            self._adopting.add(task)
            task.add_done_callback(self._adopting.discard)

    def _new_router(self, dns: DnsConfig) -> Router:
        resolver = DnsResolver(dns.nameservers)
        return Router(
            StaticResolver(dns.static, resolver) if dns.static else resolver,
            self.clock,
            random.random,
            self._own,
        )

    async def start(self) -> None:
        """Take the spool, and accept mail; what is in the spool follows meanwhile.

        FileError, SpoolError if the spool cannot be had.
        """
        self._durable.open()
        self._sample_at = self._loop.time()
        self._sample()
        await self.crossing.open()
        self.doors.start()
        for listener in self.listeners:
            await listener.start()
        self._fault = None
        self._recovering = self._loop.create_task(self._recover(), name="recover the spool")

    async def _recover(self) -> None:
        """Read what was queued before the start; then the scribe can be told of the log."""
        # what is made of queued mail stays for long: it need not be looked through again and again, which would stall the loop
        gc.disable()
        try:
            await self.spool.recover(self._restored)
            gc.freeze()
        except (FileError, SpoolError) as error:
            # nothing of it is delivered, and nothing is removed: half a spool would be delivered twice
            LOG.critical("the spool cannot be read, mail from before the start stays where it is: %s", error)
            self._fault = f"the spool cannot be read: {error}"
            self.failed.set()
            return
        except Exception:
            # a mistake of ours: told, and the server ends, for nobody would ever deliver that mail
            LOG.critical(
                "the spool cannot be read, mail from before the start stays where it is", exc_info=True
            )
            self._fault = "the spool cannot be read: internal error"
            self.failed.set()
            return
        finally:
            gc.enable()
        LOG.info("recovered: %d messages from before the start are queued", self.recovered_messages)
        self.feed.start()
        self.crossing.recovered()
        self._adopt()
        self.recovered.set()
        if self._adopting:
            await asyncio.wait(tuple(self._adopting))
        self.lane.scheduler.filled()
        self.lane.work_done()

    def _count(self, records: Sequence[SpoolRecord], _: LogPosition) -> None:  # hot: throughput
        add = self.tally.add
        for record in records:
            add(record)

    def _restored(self, messages: Sequence[QueuedMessage]) -> None:
        self.recovered_messages += len(messages)
        for message in messages:
            if not message.is_held:
                self.tally.restore(message.queue.tenant, message.recipients)
        self.lane.restore(messages)

    def _sample(self) -> None:
        """Once a second: how late the loop is, and the counts for the rates."""
        now = self._loop.time()
        self._lags.append(max(0.0, now - self._sample_at))
        self._sample_at = now + to_next_second(MonotonicTime(now))
        self._rates.sample(self.clock.monotonic(), self.tally.total)
        self._tenant_rates.sample(self.clock.monotonic(), self.tally.tenants)
        self._sampler = self._loop.call_at(self._sample_at, self._sample)

    # -- what it says of itself

    @property
    def loop_lag(self) -> Seconds:
        """The most that the loop was late within the last minute."""
        return Seconds(max(self._lags, default=0.0))

    def rates(self) -> Rates:
        """Recipients a second, over the last minute."""
        return self._rates.rates()

    def tenant_rate(self, tenant: str | None) -> float | None:
        """Recipients of a tenant delivered a second, over the last minute; None if that is not counted."""
        return self._tenant_rates.rate(tenant, self.clock.monotonic(), self.tally.tenants)

    def fault(self) -> str | None:
        """Why it does not take mail; None while it does."""
        return self._fault

    async def status(self) -> Status:
        """The state now."""
        return await report.status(self)

    async def snapshot(self) -> Snapshot:
        """The numbers now."""
        return await report.snapshot(self)

    # -- change

    async def reconfigure(self, new: Configuration, policy: Policy | None = None) -> None:
        """Go on with a configuration in which nothing differs that cannot change (``config.changes``), and its policy, loaded."""
        old, self.configuration = self.configuration, new
        self.feed.use_epoch(new.epoch)
        self.quotas.epoch = new.epoch
        self.desk.queues = new.queues
        retiring, self.desk.policy = self.desk.policy, _runner(policy, new, self.policy_counts)
        self.options.use(new.queues, self.desk.policy)
        if retiring is not None:
            task = self._loop.create_task(retiring.retire(), name="retire a policy")
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
        for listener, config in zip(self.listeners, new.smtp_listeners, strict=True):
            listener.configure(config)
        retired: Router | None = None
        if old.dns != new.dns:
            retired, self._router = self._router, self._new_router(new.dns)
            self.lane.use_router(self._router)
            self.crossing.committer.routes = self._router
        if old.node.tls_ca_file != new.node.tls_ca_file:
            self.lane.use_contexts(ClientContexts(new.node.tls_ca_file, self.clock))
        self.spool.use_reserve(new.spool.min_free_space)
        self.lane.reconfigure(_own_names(new), self.options, _path_config(new))
        # nothing is waited for before: the broker would hear a rate of the old configuration as one of the new
        if retired is not None:
            await retired.close()

    # -- the end

    async def stop(self, grace: float) -> int:
        """Take no more mail, let what is under way end within ``grace`` seconds, close everything; how many messages are left in the spool."""
        self._fault = "shutting down"
        self.doors.stop()
        deadline = self._loop.time() + grace
        await asyncio.gather(*(listener.stop(grace) for listener in self.listeners))
        self.options.stop()
        if self.desk.policy is not None:
            await self.desk.policy.close()
        await asyncio.gather(*self._retiring)
        for adopting in self._adopting:
            adopting.cancel()
        if self._adopting:
            await asyncio.wait(tuple(self._adopting))
        await self.crossing.close(max(0.0, deadline - self._loop.time()))
        await self.lane.stop(max(0.0, deadline - self._loop.time()))
        self.quotas.close()
        await self._router.close()
        if self._sampler is not None:
            self._sampler.cancel()
        if self._recovering is not None:
            self._recovering.cancel()
            await asyncio.wait({self._recovering})
        left = len(self.spool)
        await self._durable.close(Seconds(max(_LAST_SYNC, deadline - self._loop.time())))
        await self.feed.close()
        return left


def _nobody(_word: msgspec.Struct) -> None:
    """There is no supervisor."""


def _lanes(placement: Placement) -> int:
    return len(placement.general) + len(placement.dedicated)


def _own_names(configuration: Configuration) -> set[str]:
    """How our listeners greet, and how we introduce ourselves."""
    return {configuration.node.hostname, *(listener.hostname for listener in configuration.smtp_listeners)}


def _runner(
    policy: Policy | None, configuration: Configuration, counts: dict[str, PolicyCounts]
) -> PolicyRunner | None:
    if policy is None:
        return None
    node = configuration.node
    policy_dns.use_nameservers(configuration.dns.nameservers)
    return PolicyRunner(policy, node.policy_timeout, node.policy_threads, counts=counts)


def _path_config(configuration: Configuration) -> Callable[[str], PathConfig]:
    default = configuration.shaping.default
    return lambda site: default
