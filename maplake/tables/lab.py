"""Schema ``lab``: people, rigs, animals, probes and other things entered by people."""

from __future__ import annotations

from maplake.tables.model import BOOL, DATE, INT, LABEL, REAL, TEXT, Column, Ref, Store, Table
from maplake.tables.model import SUBJECT_ID

_TO_SUBJECT = Ref(("subject_id",), "lab.subject")
_TO_PROBE_TYPE = Ref(("probe_type",), "lab.probe_type")
_PROBE_TYPE = Column("probe_type", LABEL, "kind of probe, e.g. neuropixels 1.0 - 3B")
_CONFIG_NAME = Column("electrode_config_name", TEXT, "recorded electrodes as ranges, e.g. 1-384")

TABLES = (
    Table(
        "lab",
        "person",
        "people",
        (
            Column("username", TEXT, "login name"),
            Column("fullname", TEXT, "full name", nullable=True),
        ),
        key=("username",),
        store=Store.GLOBAL,
    ),
    Table(
        "lab",
        "rig",
        "recording and training rigs",
        (
            Column("rig", TEXT, "name of the rig"),
            Column("room", TEXT, "where it stands", nullable=True),
            Column("rig_description", TEXT, "what it is", nullable=True),
        ),
        key=("rig",),
        store=Store.GLOBAL,
    ),
    Table(
        "lab",
        "subject",
        "animals",
        (
            SUBJECT_ID,
            Column("username", TEXT, "person responsible for the animal", nullable=True),
            Column("cage_number", INT, "cage", nullable=True),
            Column("date_of_birth", DATE, "date of birth", nullable=True),
            Column("sex", LABEL, "sex", values=("M", "F", "Unknown")),
            Column("animal_source", TEXT, "where the animal came from", nullable=True),
        ),
        key=("subject_id",),
        store=Store.GLOBAL,
        refs=(Ref(("username",), "lab.person"),),
    ),
    Table(
        "lab",
        "water_restriction",
        "water restriction of an animal; its number is the animal's name in all file names",
        (
            SUBJECT_ID,
            Column("water_restriction_number", TEXT, "the animal's short name (h2o)"),
            Column("cage_number", INT, "cage", nullable=True),
            Column("wr_start_date", DATE, "first day of water restriction", nullable=True),
            Column("wr_start_weight", REAL, "weight on that day", "g", nullable=True),
        ),
        key=("subject_id",),
        store=Store.GLOBAL,
        refs=(_TO_SUBJECT,),
        unique=(("water_restriction_number",),),
    ),
    Table(
        "lab",
        "probe_type",
        "kinds of silicon probes",
        (_PROBE_TYPE,),
        key=("probe_type",),
        store=Store.GLOBAL,
    ),
    Table(
        "lab",
        "probe_type_electrode",
        "all sites of a kind of probe; origin at the bottom left site",
        (
            _PROBE_TYPE,
            Column("electrode", INT, "number of the site, from 1"),
            Column("shank", INT, "shank, from 1"),
            Column("shank_col", INT, "column on the shank, from 1"),
            Column("shank_row", INT, "row on the shank, from 1, tip to base"),
            Column("x_coord", REAL, "position across the probe", "um"),
            Column("y_coord", REAL, "position along the probe, from the tip", "um"),
            Column("z_coord", REAL, "position perpendicular to the probe", "um"),
        ),
        key=("probe_type", "electrode"),
        store=Store.GLOBAL,
        refs=(_TO_PROBE_TYPE,),
    ),
    Table(
        "lab",
        "probe",
        "physical probes",
        (
            Column("probe", TEXT, "serial number (an identifier, not a number)"),
            _PROBE_TYPE,
            Column("probe_comment", TEXT, "comment", nullable=True),
        ),
        key=("probe",),
        store=Store.GLOBAL,
        refs=(_TO_PROBE_TYPE,),
    ),
    Table(
        "lab",
        "electrode_config",
        "recorded subsets of a probe type's sites",
        (
            _PROBE_TYPE,
            _CONFIG_NAME,
            Column("electrode_config_hash", TEXT, "hash of probe type and electrodes"),
        ),
        key=("probe_type", "electrode_config_name"),
        store=Store.GLOBAL,
        refs=(_TO_PROBE_TYPE,),
        unique=(("electrode_config_hash",),),
    ),
    Table(
        "lab",
        "electrode_config_electrode",
        "the sites of an electrode configuration",
        (
            _PROBE_TYPE,
            _CONFIG_NAME,
            Column("electrode_group", INT, "sites clustered together; 0 = the whole probe"),
            Column("electrode", INT, "number of the site, from 1"),
            Column("is_used", BOOL, "false = reference or switched off"),
        ),
        key=("probe_type", "electrode_config_name", "electrode_group", "electrode"),
        store=Store.GLOBAL,
        refs=(
            Ref(("probe_type", "electrode_config_name"), "lab.electrode_config"),
            Ref(("probe_type", "electrode"), "lab.probe_type_electrode"),
        ),
    ),
    Table(
        "lab",
        "brain_area",
        "brain areas in the lab's words (not necessarily those of the Allen Institute)",
        (
            Column("brain_area", TEXT, "short name"),
            Column("description", TEXT, "full name", nullable=True),
        ),
        key=("brain_area",),
        store=Store.GLOBAL,
        rows=(
            ("ALM", "anterior lateral motor cortex"),
            ("vS1", 'vibrissal primary somatosensory cortex ("barrel cortex")'),
            ("Thalamus", "Thalamus"),
            ("Medulla", "Medulla"),
            ("Striatum", "Striatum"),
            ("Midbrain", "Midbrain"),
        ),
    ),
    Table(
        "lab",
        "skull_reference",
        "reference points of stereotaxic coordinates",
        (Column("skull_reference", TEXT, "name of the point"),),
        key=("skull_reference",),
        store=Store.LOOKUP,
        rows=(("Bregma",), ("Lambda",)),
    ),
    Table(
        "lab",
        "hemisphere",
        "hemispheres",
        (Column("hemisphere", TEXT, "name"),),
        key=("hemisphere",),
        store=Store.LOOKUP,
        rows=(("left",), ("right",), ("both",)),
    ),
    Table(
        "lab",
        "photostim_device",
        "light sources for photostimulation",
        (
            Column("photostim_device", TEXT, "name of the device"),
            Column("excitation_wavelength", REAL, "wavelength", "nm"),
            Column("photostim_device_description", TEXT, "what it is"),
        ),
        key=("photostim_device",),
        store=Store.LOOKUP,
        rows=(
            ("LaserGem473", 473.0, "Laser (Laser Quantum, Gem 473)"),
            ("LED470", 470.0, "LED (Thor Labs, M470F3 - 470 nm, 17.2 mW (Min) fiber-coupled LED)"),
            ("OBIS470", 473.0, "OBIS 473nm LX 50mW Laser System: Fiber Pigtail (Coherent Inc)"),
        ),
    ),
    Table(
        "lab",
        "whisker",
        "whiskers of the mystacial pad",
        (Column("whisker", TEXT, "row and column"),),
        key=("whisker",),
        store=Store.LOOKUP,
        rows=tuple((f"{row}{column}",) for row in "ABCDE" for column in range(1, 7)),
    ),
)
