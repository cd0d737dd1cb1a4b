"""Spike sorting results of JRCLUST 3: ``{h2o}_*_jrc.mat``."""

from __future__ import annotations

from maplake.readers.jrclust import Fields, reader

__all__ = ["FIELDS", "READER"]

FIELDS = Fields(
    method="jrclust_v3",
    suffix="_jrc.mat",
    sample="viTime_spk",
    site="viSite_spk",
    position="mrPos_spk",
    cluster="S_clu/viClu",
    waveform="S_clu/trWav_raw_clu",
    note="S_clu/csNote_clu",
    x=("S_clu/vrPosX_clu", None),
    y=("S_clu/vrPosY_clu", None),
    amplitude="S_clu/vrVpp_uv_clu",
    snr="S_clu/vrSnr_clu",
    peak_site="S_clu/viSite_clu",
    spike_amplitude="vrAmp_spk",
    extras=("S_clu/vrIsiRatio_clu", "S_clu/vrIsoDist_clu", "S_clu/vrLRatio_clu"),
    rate="P/sRateHz",
)

READER = reader(FIELDS, priority=10)
