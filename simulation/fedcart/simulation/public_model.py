"""DIR/model: the public model of a finished run, as a store uses it (`fedcart store use DIR`)."""

from __future__ import annotations

from fedcart.server.checkpoint import load_checkpoint
from fedcart.shared.errors import FedcartError
from fedcart.shared.model_files import save_model
from fedcart.simulation.methods import Trainings
from fedcart.simulation.workspace import Workspace

MODEL = "model"


def keep_model(workspace: Workspace, trainings: Trainings) -> None:
    """Write the coalition's public arrays after the last round, before the working files go."""
    checkpoint = load_checkpoint(workspace.coalition, trainings.plan_hash)
    if checkpoint is None:
        raise FedcartError(f"{workspace.coalition}: no round has finished; no model was kept")
    save_model(
        workspace.directory / MODEL,
        trainings.plan,
        trainings.catalogue,
        checkpoint.state,
        rehearsal=trainings.around.seed is not None,
    )
