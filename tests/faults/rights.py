"""Rights that are revoked while the workers need them, and given back."""

from __future__ import annotations

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.faults.rows import Row
from tests.faults.stage import Stage
from tests.faults.wires import BEHIND, cut_off_scene

_REVOKED_SECONDS = 5.0
_AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}
_RIGHTS = (
    ("observations", AclOperation.WRITE),
    ("predictions", AclOperation.READ),
    ("snapshots", AclOperation.WRITE),
)


def revoked(stage: Stage, row: Row, times: int) -> None:
    """One right after the other is denied to the workers for five seconds.

    They are known by the address they come from. Recovery is from the return of the right.
    """
    draw = stage.draw(row.name)
    with cut_off_scene(stage, row, _AUTHORIZER) as (scene, broker, _):
        admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        names = {name: scene.settings.topic(name) for name, _ in _RIGHTS}
        # A topic with any rule denies what no rule allows.
        _create(admin, [_everything(name) for name in names.values()])
        scene.begin()
        for number in range(times):
            name, operation = _RIGHTS[number % len(_RIGHTS)]
            scene.rest(draw.uniform(2.0, 4.0))
            denied = _denied(names[name], operation)
            _create(admin, [denied])
            scene.rest(_REVOKED_SECONDS)
            _delete(admin, denied)
            scene.recover(scene.now())
            row.times += 1
    if not row.ended:
        row.failures.append("no worker minded")


def _everything(topic: str) -> AclBinding:
    return AclBinding(
        ResourceType.TOPIC, topic, ResourcePatternType.LITERAL,
        "User:*", "*", AclOperation.ALL, AclPermissionType.ALLOW,
    )  # fmt: skip


def _denied(topic: str, operation: AclOperation) -> AclBinding:
    return AclBinding(
        ResourceType.TOPIC, topic, ResourcePatternType.LITERAL,
        "User:*", BEHIND, operation, AclPermissionType.DENY,
    )  # fmt: skip


def _create(admin: AdminClient, bindings: list[AclBinding]) -> None:
    for future in admin.create_acls(bindings).values():
        future.result(20)


def _delete(admin: AdminClient, binding: AclBinding) -> None:
    chosen = AclBindingFilter(
        binding.restype, binding.name, binding.resource_pattern_type,
        binding.principal, binding.host, binding.operation, binding.permission_type,
    )  # fmt: skip
    for future in admin.delete_acls([chosen]).values():
        assert len(future.result(20)) == 1
