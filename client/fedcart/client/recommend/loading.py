"""The recommender of a store's folder, and what tells that it must be loaded again."""

from __future__ import annotations

from fedcart.client.data.kept import FILE
from fedcart.client.data.mapping import map_items
from fedcart.client.data.tables import store_extra
from fedcart.client.data.view import open_view
from fedcart.client.recommend.models import CURRENT, current_model
from fedcart.client.recommend.recommender import Recommender
from fedcart.client.settings import StoreSettings
from fedcart.client.store_folder import STORE, StoreFolder
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.storage import file_version


def load_recommender(folder: StoreFolder) -> Recommender:
    """The model in use over what was read.

    Raises:
      DataError: no model, or no data yet.
    """
    settings = folder.settings()
    model = current_model(folder)
    view = open_view(folder, model.agreement.catalogue)
    sold = _assortment(settings, model.agreement.catalogue)
    return Recommender(
        model,
        view,
        settings.recommend.repeats,
        sold,
        private_only=settings.serve.private_only,
        store_cooccurrences=settings.serve.store_cooccurrences,
    )


def version(folder: StoreFolder) -> tuple[object, ...]:
    """Changes when data, model or settings are replaced."""
    paths = (folder.data / FILE, folder.models / CURRENT, folder.directory / STORE)
    return tuple(file_version(str(path)) if path.exists() else None for path in paths)


def _assortment(settings: StoreSettings, catalogue: Catalogue) -> dict[str, int] | None:
    """Own number -> position of all that the store sells, where store.toml names a table of it; -1 = not listed."""
    if settings.recommend.assortment is None:
        return None
    with store_extra():
        from fedcart.shared.tables.items import read_items
        from fedcart.shared.tables.options import TableOptions
    path = settings.beside(settings.recommend.assortment)
    own = read_items(path, TableOptions(encoding=settings.data.encoding)).ids
    return dict(zip(own, map_items(own, catalogue, settings).position.tolist(), strict=True))
