"""Tables that people fill in with ``maplake load TABLE FILE``: surgeries, viruses, strains."""

from __future__ import annotations

from maplake.tables.ephys import TO_UNIT, UNIT_COLUMNS, UNIT_KEY
from maplake.tables.model import (
    DATE,
    INSERTION,
    INSERTION_KEY,
    INT,
    LABEL,
    REAL,
    SESSION,
    SUBJECT_ID,
    TEXT,
    TIMESTAMP,
    TO_INSERTION,
    Column,
    Ref,
    Store,
    Table,
)

#: The kind of partitioned tables that are loaded from sheets.
KIND = "entered"

_TO_SUBJECT = Ref(("subject_id",), "lab.subject")
_SURGERY = Column("surgery_id", INT, "number of the animal's surgery")
_TO_SURGERY = Ref(("subject_id", "surgery_id"), "lab.surgery")
_TO_REFERENCE = Ref(("skull_reference",), "lab.skull_reference")
_REFERENCE = Column("skull_reference", TEXT, "reference point")


def _place(axis: str, comment: str, *, nullable: bool = False) -> Column:
    return Column(f"{axis}_location", REAL, comment, "um", nullable=nullable)


def _places(*, nullable: bool = False) -> tuple[Column, ...]:
    return (
        _place("ap", "anterior of the reference is positive", nullable=nullable),
        _place("ml", "right of the reference is positive", nullable=nullable),
        _place("dv", "from dura, dorsal is positive", nullable=nullable),
    )


TABLES = (
    Table(
        "lab",
        "subject_strain",
        "strains of animals",
        (SUBJECT_ID, Column("animal_strain", TEXT, "name of the strain")),
        key=("subject_id", "animal_strain"),
        store=Store.GLOBAL,
        refs=(_TO_SUBJECT,),
    ),
    Table(
        "lab",
        "subject_gene_modification",
        "gene modifications of animals",
        (
            SUBJECT_ID,
            Column("gene_modification", TEXT, "name of the modification"),
            Column("zygosity", LABEL, "zygosity", values=("Het", "Hom", "Unknown")),
            Column("type", LABEL, "kind", values=("Knock-in", "Transgene", "Unknown")),
        ),
        key=("subject_id", "gene_modification"),
        store=Store.GLOBAL,
        refs=(_TO_SUBJECT,),
    ),
    Table(
        "lab",
        "virus",
        "viruses",
        (
            Column("virus_id", INT, "number of the virus"),
            Column("virus_source", TEXT, "where it came from", nullable=True),
            Column("serotype", TEXT, "serotype", nullable=True),
            Column("username", TEXT, "person who ordered it", nullable=True),
            Column("virus_name", TEXT, "name"),
            Column("titer", REAL, "titer", "1/ml", nullable=True),
            Column("order_date", DATE, "day of the order", nullable=True),
            Column("remarks", TEXT, "remarks", nullable=True),
        ),
        key=("virus_id",),
        store=Store.GLOBAL,
        refs=(Ref(("username",), "lab.person"),),
    ),
    Table(
        "lab",
        "surgery",
        "surgeries",
        (
            SUBJECT_ID,
            _SURGERY,
            Column("username", TEXT, "person who did it", nullable=True),
            Column("start_time", TIMESTAMP, "start", nullable=True),
            Column("end_time", TIMESTAMP, "end", nullable=True),
            Column("surgery_description", TEXT, "what was done", nullable=True),
        ),
        key=("subject_id", "surgery_id"),
        store=Store.GLOBAL,
        refs=(_TO_SUBJECT, Ref(("username",), "lab.person")),
    ),
    Table(
        "lab",
        "surgery_virus_injection",
        "virus injections of a surgery",
        (
            SUBJECT_ID,
            _SURGERY,
            Column("injection_id", INT, "number within the surgery"),
            Column("virus_id", INT, "which virus"),
            _REFERENCE,
            *_places(),
            Column("volume", REAL, "injected volume", "nl", nullable=True),
            Column("dilution", REAL, "1 to how much", nullable=True),
            Column("description", TEXT, "remark", nullable=True),
        ),
        key=("subject_id", "surgery_id", "injection_id"),
        store=Store.GLOBAL,
        refs=(_TO_SURGERY, Ref(("virus_id",), "lab.virus"), _TO_REFERENCE),
    ),
    Table(
        "lab",
        "surgery_procedure",
        "other procedures of a surgery",
        (
            SUBJECT_ID,
            _SURGERY,
            Column("procedure_id", INT, "number within the surgery"),
            _REFERENCE,
            *_places(nullable=True),
            Column("surgery_procedure_description", TEXT, "what was done"),
        ),
        key=("subject_id", "surgery_id", "procedure_id"),
        store=Store.GLOBAL,
        refs=(_TO_SURGERY, _TO_REFERENCE),
    ),
    Table(
        "ephys",
        "brain_area_depth_criteria",
        "brain areas of an insertion by depth along the probe",
        (
            SUBJECT_ID,
            SESSION,
            INSERTION,
            Column("brain_area", TEXT, "area in the lab's words"),
            Column("depth_upper", REAL, "units above this belong to it", "um"),
            Column("depth_lower", REAL, "units up to this belong to it", "um"),
        ),
        key=(*INSERTION_KEY, "brain_area"),
        store=Store.INSERTION,
        kind=KIND,
        refs=(TO_INSERTION, Ref(("brain_area",), "lab.brain_area")),
    ),
    Table(
        "ephys",
        "single_unit_classification",
        "single units as another program classified them",
        (*UNIT_COLUMNS, Column("classification", LABEL, "class of the unit")),
        key=UNIT_KEY,
        store=Store.INSERTION,
        kind=KIND,
        refs=(TO_UNIT,),
    ),
)
