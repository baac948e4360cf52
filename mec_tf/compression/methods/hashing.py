"""Hashing: ids share rows, and the model is trained anew."""

from typing import TYPE_CHECKING, Any

from mec_tf.compression.hashing import LEAST, most_remainders, share_rows
from mec_tf.compression.methods.method import Method, layer_config
from mec_tf.compression.settings import (
    LEAVE,
    ComposedSettings,
    HashedSettings,
    Settings,
)
from mec_tf.compression.tables import Table
from mec_tf.layers import (
    HashedEmbedding,
    QuotientRemainderEmbedding,
    TableLayer,
)

if TYPE_CHECKING:
    from mec_tf.compression.policy import CompressionPolicy


class Hashing(Method):
    """Ids that meet in a row share it. A baseline."""

    settings_type: type[Settings] = HashedSettings
    default_ratio = 50.0
    from_scratch = True
    name = "hash"

    def settle(
        self, tables: list[Table], max_bytes: int
    ) -> dict[str, Settings]:
        shapes = {table.path: (table.rows, table.dim) for table in tables}
        stored = share_rows(shapes, max_bytes, LEAST[self.name])
        return {
            path: LEAVE
            if stored[path] >= rows
            else self.fit(rows, stored[path])
            for path, (rows, _) in shapes.items()
        }

    def fit(self, rows: int, stored: int) -> Settings:
        """Settings of a table of `rows` ids that stores so many rows."""
        return HashedSettings(stored)

    def trainable(
        self, table: Table, settings: Any, policy: "CompressionPolicy"
    ) -> TableLayer:
        return HashedEmbedding(
            table.rows,
            table.dim,
            settings.num_rows,
            settings.num_hashes,
            embeddings_initializer=table.layer.embeddings_initializer,
            **layer_config(table),
        )


class QuotientRemainder(Hashing):
    """A vector is the product of a remainder's and a quotient's. A baseline."""

    settings_type = ComposedSettings
    name = "quotient_remainder"

    def fit(self, rows: int, stored: int) -> Settings:
        return ComposedSettings(most_remainders(rows, stored))

    def trainable(
        self, table: Table, settings: Any, policy: "CompressionPolicy"
    ) -> TableLayer:
        return QuotientRemainderEmbedding(
            table.rows,
            table.dim,
            num_remainders=settings.num_remainders,
            embeddings_initializer=table.layer.embeddings_initializer,
            **layer_config(table),
        )
