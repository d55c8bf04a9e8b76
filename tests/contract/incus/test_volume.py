"""Storage volumes on the machine's real Incus, in the project that tools/bootstrap creates."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from components.pipeline.errors import IncusError
from components.pipeline.targets.incus import volume
from components.pipeline.targets.incus.api import Incus
from components.pipeline.targets.incus.ownership import OWNER
from components.pipeline.targets.incus.remote import Remote
from components.pipeline.targets.incus.volume import StorageVolume
from components.pipeline.values import Owner

pytestmark = pytest.mark.contract
OWN = Owner.parse("flakeup-contract/volumes")


@pytest_asyncio.fixture
async def incus(parts: dict[str, dict[str, Any]]) -> AsyncIterator[Incus]:
    part = parts["incus"]
    if part["state"] != "ready":
        pytest.skip(f"no incus: {part['reason']}; {part['remedy']}")
    async with Incus(Remote.find("local"), part["project"]) as found:
        yield found


@pytest_asyncio.fixture
async def data(incus: Incus, parts: dict[str, dict[str, Any]]) -> AsyncIterator[StorageVolume]:
    """A volume to create; afterwards it is deleted."""
    one = StorageVolume(
        pool=parts["incus"]["pool"], name=f"contract-{secrets.token_hex(4)}", size="1GiB"
    )
    yield one
    await volume.delete(incus, one, OWN)


async def test_create_is_idempotent(incus: Incus, data: StorageVolume) -> None:
    await volume.ensure(incus, data, OWN)
    before = await incus.get(data.path)
    assert (before["config"]["size"], before["config"][OWNER]) == ("1GiB", OWN.text)
    await volume.ensure(incus, data, OWN)
    assert await incus.get(data.path) == before


async def test_the_size_changes_in_place(incus: Incus, data: StorageVolume) -> None:
    await volume.ensure(incus, data, OWN)
    larger = StorageVolume(pool=data.pool, name=data.name, size="2GiB")
    await volume.ensure(incus, larger, OWN)
    config = (await incus.get(data.path))["config"]
    assert (config["size"], config[OWNER]) == ("2GiB", OWN.text)


async def test_a_volume_of_another_owner_is_refused_and_left_alone(
    incus: Incus, data: StorageVolume
) -> None:
    await incus.change("POST", data.collection, {"name": data.name, "config": {}})
    before = await incus.get(data.path)
    with pytest.raises(IncusError) as caught:
        await volume.ensure(incus, data, OWN)
    said = str(caught.value)
    assert said.startswith(f"name taken: {data.name} (local, project {incus.project}, ")
    assert f"{OWNER}={OWN.text}" in said
    await volume.delete(incus, data, OWN)
    assert await incus.get(data.path) == before
    await incus.change("DELETE", data.path)


async def test_a_missing_pool_or_project(incus: Incus) -> None:
    with pytest.raises(IncusError) as caught:
        await volume.ensure(incus, StorageVolume(pool="no-such-pool", name="contract-x"), OWN)
    assert str(caught.value) == (
        f"Incus refused the volume: contract-x (local, project {incus.project}, pool "
        "no-such-pool): Storage pool not found. check `volumes` of its `incus` in the config"
    )
    async with Incus(incus.remote, "no-such") as nowhere:
        with pytest.raises(IncusError) as caught:
            await volume.ensure(nowhere, StorageVolume(pool="no-such-pool", name="contract-x"), OWN)
    text = str(caught.value)
    assert text.startswith("Incus refused the volume: contract-x (local, project no-such, pool ")
    assert text.endswith("Project not found. check `project` of its `incus` in the config")


async def test_deleting_a_missing_volume(incus: Incus, data: StorageVolume) -> None:
    await volume.ensure(incus, data, OWN)
    assert await volume.exists(incus, data)
    await volume.delete(incus, data, OWN)
    assert not await volume.exists(incus, data)
    await volume.delete(incus, data, OWN)
