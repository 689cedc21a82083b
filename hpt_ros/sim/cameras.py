"""Pictures of the scene: a renderer for the thread that made it, and a camera thread that physics never waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.configuration import check
from hpt_ros.embodiment.schema import MAX_DEPTH_M
from hpt_ros.sim.scene import camera_names, graphics_error, indices, mujoco
from hpt_ros.sim.world import Snapshot

Image = NDArray[np.uint8]
Picture = NDArray[Any]
"""RGB uint8 (H, W, 3); of a depth view uint16 (H, W) [mm], 0 where the camera sees nothing."""
DEFAULT_SIZE_PX = (192, 192)
DEPTH_SUFFIX = "_depth"
"""`wrist_depth` is how far away what the camera `wrist` sees is, pixel by pixel, along its optical axis."""


class Renderer:
    """Draws snapshots with cameras of the scene, in the one thread that makes it.

    Args:
        size_px: (height, width) of every image.

    Raises:
        MissingDependencyError: the system lacks the graphics library; names its packages.
    """

    def __init__(self, model: mujoco.MjModel, size_px: tuple[int, int] = DEFAULT_SIZE_PX) -> None:
        height, width = size_px
        model.vis.global_.offheight = max(height, model.vis.global_.offheight)
        model.vis.global_.offwidth = max(width, model.vis.global_.offwidth)
        self._model, self._data, self._at = model, mujoco.MjData(model), indices(model)
        try:
            self._renderer = mujoco.Renderer(model, height, width)
        except (AttributeError, ImportError, RuntimeError, mujoco.FatalError) as error:
            raise graphics_error(error) from error

    def render(self, snapshot: Snapshot, cameras: Sequence[str]) -> dict[str, Picture]:
        """One picture per camera of one moment."""
        self._data.qpos[:] = snapshot.qpos
        self._data.mocap_pos[self._at.goal] = snapshot.mark_m
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)  # lights and cameras refer to it
        mujoco.mj_camlight(self._model, self._data)
        return {name: self._draw(name) for name in cameras}

    def _draw(self, camera: str) -> Picture:
        self._renderer.update_scene(self._data, camera.removesuffix(DEPTH_SUFFIX))
        if not camera.endswith(DEPTH_SUFFIX):
            image: Image = self._renderer.render()
            return image
        self._renderer.enable_depth_rendering()
        try:
            return self._millimetres(self._renderer.render())
        finally:
            self._renderer.disable_depth_rendering()

    def _millimetres(self, metres: NDArray[np.float32]) -> NDArray[np.uint16]:
        farthest_m = self._model.vis.map.zfar * self._model.stat.extent  # of what is drawn; beyond is the sky
        seen = metres < min(0.999 * farthest_m, MAX_DEPTH_M)
        return np.where(seen, np.rint(metres * 1000), 0).astype(np.uint16)

    def close(self) -> None:
        """Free the graphics context; left to the interpreter's end, EGL complains."""
        self._renderer.close()


class CameraThread:
    """Renders the newest snapshot that is offered, in a thread of its own.

    `wanted` names the cameras that somebody looks at; `deliver(camera, stamp_ns, picture)` is called in the thread. When
    rendering is slower than snapshots come, old ones are replaced and counted in `dropped`.

    Raises:
        ConfigError: a camera that the scene does not have.
        MissingDependencyError: as `Renderer`.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        cameras: Sequence[str],
        size_px: tuple[int, int],
        wanted: Callable[[], Sequence[str]],
        deliver: Callable[[str, int, Picture], None],
    ) -> None:
        known = camera_names(model)
        for name in cameras:
            check(
                name.removesuffix(DEPTH_SUFFIX) in known,
                "cameras.name",
                name,
                f"a camera of the simulated scene: {', '.join(known)}; its name and {DEPTH_SUFFIX} for depth",
            )
        self.dropped = 0
        self.failure: Exception | None = None
        self._model, self._size_px, self._wanted, self._deliver = model, size_px, wanted, deliver
        self._slot: tuple[int, Snapshot] | None = None
        self._wake = threading.Condition()
        self._stopping = False
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cameras", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self.failure:
            raise self.failure

    def offer(self, stamp_ns: int, snapshot: Snapshot) -> None:
        """Ask for pictures of a moment; returns at once."""
        with self._wake:
            self.dropped += self._slot is not None
            self._slot = (stamp_ns, snapshot)
            self._wake.notify()

    def stop(self) -> None:
        """End the thread after the image in work."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        try:
            renderer = Renderer(self._model, self._size_px)
        except Exception as error:  # handed to the constructor
            self.failure = error
            return
        finally:
            self._ready.set()
        try:
            while (job := self._next()) is not None:
                stamp_ns, snapshot = job
                for name, image in renderer.render(snapshot, self._wanted()).items():
                    self._deliver(name, stamp_ns, image)
        except Exception as error:  # read by the owner
            self.failure = error
        finally:
            renderer.close()

    def _next(self) -> tuple[int, Snapshot] | None:
        with self._wake:
            self._wake.wait_for(lambda: self._stopping or self._slot is not None)
            job, self._slot = self._slot, None
            return None if self._stopping else job
