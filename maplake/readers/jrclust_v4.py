"""Spike sorting results of JRCLUST 4: ``{h2o}_*.ap_res.mat``."""

from __future__ import annotations

from maplake.readers.jrclust import Fields, reader

__all__ = ["FIELDS", "READER"]

FIELDS = Fields(
    method="jrclust_v4",
    suffix=".ap_res.mat",
    sample="spikeTimes",
    site="spikeSites",
    position="spikePositions",
    cluster="spikeClusters",
    waveform="meanWfLocalRaw",
    note="clusterNotes",
    x=("clusterCentroids", 0),
    y=("clusterCentroids", 1),
    amplitude="unitVppRaw",
    snr="unitSNR",
    peak_site="clusterSites",
    spike_amplitude="spikeAmps",
    extras=("unitISIRatio", "unitIsoDist", "unitLRatio"),
    times=("curatedOn", "sortedOn"),
)

READER = reader(FIELDS, priority=0)
