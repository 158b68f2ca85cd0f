"""From what a run directory holds to the groups of its record that say what ran, and where."""

from __future__ import annotations

from dataclasses import replace

from runner.records import setting
from runner.records.basics import Digest, digest, uri
from runner.records.clean import clean_argv, clean_optional, clean_text
from runner.records.evidence import Evidence
from runner.worker.facts import Allocation, Container, InstalledEnvironment, Package, Start, Submodule
from runner.worker.spec import EnvironmentSpec, Interpreter


def code(facts: Evidence) -> setting.Code:
    """Return the source that ran."""
    source, snapshot = facts.source, facts.spec.snapshot
    return setting.Code(
        kind=source.kind,
        uri=clean_text(facts.request.uri),
        root=uri(clean_text(source.root)),
        snapshot=Digest(snapshot.manifest),
        url=clean_optional(source.url),
        commit=source.commit,
        tree=source.tree,
        branch=source.branch,
        describe=source.describe,
        subdirectory=snapshot.subdirectory,
        on_remote=source.on_remote,
        dirty=source.dirty,
        modified=source.modified,
        untracked=source.untracked,
        patch=digest(source.patch),
        submodules=tuple(Submodule(item.path, item.commit, clean_optional(item.url)) for item in source.submodules),
        lfs=source.lfs,
        files=source.files,
        bytes=source.bytes,
        not_stored=source.not_stored,
    )


def entry_point(facts: Evidence) -> setting.EntryPoint:
    """Return what was run of the project."""
    spec, start = facts.spec, facts.start
    return setting.EntryPoint(
        project=spec.project,
        name=spec.entry_point,
        template=spec.command,
        file=facts.source.project_file,
        digest=digest(facts.source.project_file_sha256),
        command=facts.command,
        argv=() if start is None else start.argv,
        cwd=None if start is None else uri(start.cwd),
        strict_shell=spec.strict_shell,
    )


def environment(facts: Evidence) -> setting.Environment:
    """Return what the command ran in, as planned and as found."""
    planned, installed = facts.spec.environment, facts.installed
    asked = setting.Environment(
        kind=planned.kind,
        source=planned.source,
        files=tuple(setting.SpecFile(item.path, Digest(item.sha256)) for item in planned.files),
        python=planned.python,
        requirements=tuple(clean_text(line) for line in (*planned.build_requirements, *planned.requirements)),
        image=clean_optional(planned.image),
        lock=digest(planned.lock),
        interpreter=_interpreter(planned.interpreter),
    )
    if installed is None:
        return asked
    return replace(_installed(asked, installed), container=_container(planned, installed.container))


def _container(planned: EnvironmentSpec, found: Container | None) -> setting.Container | None:
    if found is None:
        return None
    return setting.Container(
        engine=found.engine,
        id=Digest(found.id),
        digests=found.digests,
        platform=found.platform,
        arguments=planned.arguments,
        volumes=planned.volumes,
        variables=tuple(variable.partition("=")[0] for variable in planned.variables),
    )


def _installed(asked: setting.Environment, found: InstalledEnvironment) -> setting.Environment:
    return replace(
        asked,
        kind=found.kind,
        lock=digest(found.lock),
        lock_origin=found.lock_origin,
        key=found.key,
        installed=digest(found.installed_digest),
        interpreter=_interpreter(found.interpreter),
        packages=tuple(
            setting.Package(
                item.name, item.version, tuple(Digest(each) for each in item.sha256), clean_optional(item.url)
            )
            for item in found.packages
        ),
        built_by=found.built_by,
        installed_by=found.installed_by,
        reused=found.reused,
        why=found.why,
        seconds=found.seconds,
    )


def _package(found: Package) -> setting.Package:
    digests = tuple(Digest(sha256) for sha256 in found.sha256)
    return setting.Package(found.name, found.version, digests, clean_optional(found.url))


def _interpreter(found: Interpreter | None) -> setting.Interpreter | None:
    if found is None:
        return None
    return setting.Interpreter(
        path=uri(found.path),
        version=found.version,
        implementation=found.implementation,
        cache_tag=found.cache_tag,
        abi=found.abi,
        build=found.build,
        platform=found.platform,
        digest=Digest(found.sha256),
    )


def platform(start: Start | None) -> setting.Platform | None:
    """Return the machine, once a command began on it."""
    if start is None:
        return None
    host = start.host
    return setting.Platform(
        os=host.os,
        kernel=host.kernel,
        machine=host.machine,
        libc=host.libc,
        cpu=host.cpu_model,
        cpu_features=host.cpu_features,
        cpus=host.cpus,
        memory=host.memory,
        gpus=host.gpus,
        container=host.container,
    )


def execution(facts: Evidence) -> setting.Execution:
    """Return how the run was carried out."""
    request, start, launched = facts.request, facts.start, facts.launched
    given = None if start is None else start.allocation
    asked = None if launched is None else Allocation(launched.job, "", launched.cluster, launched.partition)
    job = given or asked or Allocation("", "")
    return setting.Execution(
        backend=request.backend,
        host=start.host.hostname if start is not None else facts.ticket.get("host") or request.submitted_from,
        launcher=facts.ticket.get("launcher", "direct"),
        job_id=job.job or facts.ticket.get("job"),
        cluster=job.cluster,
        partition=job.partition,
        node=job.node,
        account=job.account,
        qos=job.qos,
        queued=job.queued,
        submitted_from=request.submitted_from,
        argv=clean_argv(request.argv),
        mode=request.mode,
        environ={} if start is None else {name: clean_text(value) for name, value in start.environ.items()},
        secrets=facts.spec.secrets,
        resources=facts.spec.resources,
    )
