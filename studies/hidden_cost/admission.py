"""Which compressed networks enter claims: those that have not collapsed, by a rule that stands in the parameters."""

from typing import Annotated

import pandas as pd
from pydantic import Field

from studies.claims.claim import NETWORK
from vpstudy.settings import Strict

Share = Annotated[float, Field(ge=0, le=1)]


class Admission(Strict):
    """Floors of upstream accuracy. For a backbone from elsewhere that is its agreement with the dense network."""

    share_of_dense: Share  # of the dense network's upstream accuracy
    floor: Share  # for the dense network, too


def admitted(backbones: pd.DataFrame, floors: Admission) -> pd.Series:
    """Whether each network of `backbones` is admitted (`NETWORK`, compression, upstream_accuracy; bool, same index).

    Without its dense network, a compressed one is not.
    """
    is_dense = backbones["compression"] == "dense"
    of_dense = backbones[is_dense].set_index(NETWORK)["upstream_accuracy"]
    dense = backbones.join(of_dense.rename("dense"), on=NETWORK)["dense"]
    accuracy = backbones["upstream_accuracy"]
    return (dense >= floors.floor) & (accuracy >= floors.floor) & (accuracy >= floors.share_of_dense * dense)
