"""Videos, histology and the brain's atlas, end to end: what the simulator knows is in the lake."""

from __future__ import annotations

import numpy as np
import pytest
from labs import lake_root, of, rows, sql

from maplake.query.ccf import Ccf

VOXEL = 100


@pytest.fixture(scope="module")
def lab(whole_lab):
    return whole_lab


@pytest.fixture(scope="module")
def root(lab):
    return lake_root(lab)


class TestTracking:
    def test_positions(self, lab, root):
        for item in lab.tracked:
            camera = item.camera
            where = f"{of(item.session)} AND tracking_device = '{item.device}'"
            found = sql(
                root,
                f"FROM tracking.tracking_position WHERE {where} ORDER BY trial, feature, frame",
            )
            names = {"paw_left": "left_paw", "paw_right": "right_paw"}
            order = sorted(range(len(camera.features)), key=lambda i: camera.features[i])
            truth = np.concatenate(
                [values[:, place] for values in camera.values for place in order]
            )
            np.testing.assert_array_equal(found.select("x", "y", "likelihood").to_numpy(), truth)
            features = [names.get(camera.features[i], camera.features[i]) for i in order]
            assert found["feature"].to_list() == [
                f for n in camera.frames for f in np.repeat(features, n)
            ]
            frame = np.concatenate([np.arange(n) for n in camera.frames for _ in order])
            assert found["frame"].to_list() == frame.tolist()
            interval = 0.01 if camera.position == "body" else 0.0034
            np.testing.assert_allclose(found["time"], frame * interval, atol=1e-12)
            counts = rows(
                root,
                "SELECT trial, tracking_samples FROM tracking.tracking "
                f"WHERE {where} ORDER BY trial",
            )
            assert counts == list(zip(camera.trial.tolist(), camera.frames.tolist(), strict=True))

    def test_missing_files_are_recorded(self, lab, root):
        found = rows(
            root,
            "SELECT subject_id, session, item, reason FROM ingest.skipped "
            "WHERE item_type LIKE 'tracking trial%'",
        )
        session = lab.tracked[0].session
        assert found == [(session.subject_id, session.number, "2", "there is no file for it")]

    def test_whiskers(self, lab, root):
        assert rows(root, "SELECT DISTINCT feature, whisker FROM tracking.tracked_whisker") == [
            ("whisker_C2", "C2")
        ]

    def test_bad_frames(self, lab, root):
        item = lab.tracked[0]
        jumps = 0
        for values in item.camera.values:
            step = np.abs(np.diff(values[:, 0, :2], axis=0))
            jumps += int((step > 20).any(axis=1).sum())
        ((found,),) = rows(
            root,
            f"SELECT sum(bad_count)::INT FROM tracking.tracking_qc WHERE {of(item.session)} "
            f"AND tracking_device = '{item.device}' AND feature = '{item.camera.features[0]}'",
        )
        assert found == jumps


class TestHistology:
    def test_electrodes(self, lab, root):
        volume = Ccf.open(root)
        forms = set()
        for item in lab.located:
            truth = item.position()
            where = of(item.probe.session, item.probe.insertion_number)
            known = {e: _voxel(ccf) for e, (ccf, _, is_known) in truth.items() if is_known}
            inside = {e: place for e, place in known.items() if volume.region_at(*place)[()] != 0}
            found = rows(
                root,
                "SELECT electrode, ccf_x, ccf_y, ccf_z "
                f"FROM histology.electrode_ccf_position WHERE {where}",
            )
            assert {e: place for e, *place in found} == inside
            outside = rows(
                root,
                "SELECT electrode, ccf_x, ccf_y, ccf_z, reason "
                f"FROM histology.electrode_ccf_position_error WHERE {where}",
            )
            assert {e: place for e, *place, _ in outside} == {
                e: place for e, place in known.items() if e not in inside
            }
            assert {row[4] for row in outside} <= {"outside of the annotated volume"}
            forms.add((item.form, len(item.shanks), bool(outside)))
            self._mri(root, item, where, truth)
        assert {form[:2] for form in forms} == {(1, 1), (2, 1), (1, 4), (2, 4)}
        assert any(form[2] for form in forms)

    def _mri(self, root, item, where, truth):
        found = rows(
            root,
            "SELECT electrode, mri_x, mri_y, mri_z "
            f"FROM histology.electrode_ccf_position WHERE {where}",
        )
        if item.form == 2:
            assert {row[1:] for row in found} == {(None, None, None)}
        else:
            expected = [truth[row[0]][1] for row in found]
            np.testing.assert_allclose([row[1:] for row in found], expected)

    def test_tracks(self, lab, root):
        for item in lab.located:
            where = of(item.probe.session, item.probe.insertion_number)
            assert len(rows(root, f"FROM histology.labeled_probe_track WHERE {where}")) == 1
            found = rows(
                root,
                'SELECT ccf_x, ccf_y, ccf_z, shank, "order" '
                f'FROM histology.labeled_probe_track_point WHERE {where} ORDER BY shank, "order"',
            )
            np.testing.assert_allclose(
                [row[:3] for row in found], np.concatenate([s.track for s in item.shanks])
            )
            assert [row[3:] for row in found] == [
                (s.shank, n) for s in item.shanks for n in range(len(s.track))
            ]

    def test_landmarks(self, lab, root):
        found = rows(root, "FROM histology.subject_to_ccf_landmark ORDER BY ALL")
        expected = {
            (item.probe.session.subject_id, name, *place)
            for item in lab.located
            if item.form == 1
            for name, place in item.shanks[0].landmarks.items()
        }
        assert found == sorted(expected)

    def test_regions_of_units(self, lab, root):
        item = lab.located[0]
        where = of(item.probe.session, item.probe.insertion_number)
        found = rows(
            root,
            "SELECT electrode, region_id FROM ephys.unit "
            "JOIN histology.electrode_ccf_position "
            "USING (subject_id, session, insertion_number, electrode) "
            f"JOIN ccf.annotation USING (ccf_x, ccf_y, ccf_z) WHERE {where}",
        )
        assert found
        truth = item.position()
        for electrode, region in found:
            x, y, z = np.array(_voxel(truth[electrode][0])) // VOXEL
            assert region == lab.framework.volume[z, y, x]


def _voxel(position):
    return (VOXEL * np.rint(position / VOXEL)).astype(int).tolist()


class TestCcf:
    def test_the_frame_of_positions(self, root):
        found = rows(root, "SELECT ccf_version, ccf_resolution, ccf_description FROM ccf.ccf_label")
        named = f"Allen Institute Mouse CCF, Rev. 3, {VOXEL}uM Resolution"
        assert found == [(3, VOXEL, named)]

    def test_regions(self, lab, root):
        found = rows(root, "SELECT region_id, region_name, color_code FROM ccf.ccf_brain_region")
        framework = lab.framework
        assert {row[0]: row[1:] for row in found} == {
            number: (name, framework.colors[number]) for number, name in framework.names.items()
        }

    def test_voxels(self, lab, root):
        found = sql(root, "SELECT region_id, count(*)::INT AS n FROM ccf.annotation GROUP BY ALL")
        numbers, counts = np.unique(lab.framework.volume, return_counts=True)
        assert dict(found.rows()) == {
            n: c
            for n, c in zip(numbers.tolist(), counts.tolist(), strict=True)
            if n in lab.framework.names
        }

    def test_region_at(self, lab, root):
        volume = Ccf.open(root)
        rng = np.random.default_rng(0)
        ap, dv, ml = (rng.integers(0, size, 1000) for size in lab.framework.volume.shape)
        found = volume.region_at(ml * VOXEL, dv * VOXEL, ap * VOXEL)
        assert found.tolist() == lab.framework.volume[ap, dv, ml].tolist()

    def test_surface(self, lab, root):
        ((vertices, faces),) = rows(root, "SELECT vertices, faces FROM ccf.annotated_brain_surface")
        np.testing.assert_allclose(vertices, lab.framework.vertices)
        assert faces == lab.framework.faces.tolist()
