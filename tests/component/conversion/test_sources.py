"""Which configurations are recognised, and what is said of those that are not, or are wrong."""

from __future__ import annotations

import base64
import json
import tracemalloc

import pytest

from csi_cinderlib.config import foreign
from csi_cinderlib.conversion import conversion, ember, report
from csi_cinderlib.conversion.files import File
from csi_cinderlib.conversion.model import Conversion, Note, Verdict
from csi_cinderlib.conversion.recognition import Product, read
from csi_cinderlib.errors import ConfigurationError, InvalidRequest
from tests.component.conversion import cinder
from tests.component.conversion.cinder import LVM, convert

CONF = f"[DEFAULT]\nenabled_backends = a\n[a]\nvolume_driver = {LVM}\nvolume_group = vg\n"
BACKEND = {"volume_backend_name": "a", "volume_driver": LVM, "volume_group": "vg"}
EMBER = {"driver": "LVMVolume", "name": "a", "volume_group": "vg"}
VARIABLES = {ember.BACKEND: json.dumps(EMBER)}

SAME = {
    "a cinder.conf": CONF,
    "a cinder.conf with a comment first": f"\n# a comment\n; another\n{CONF}",
    "a mapping": json.dumps(BACKEND),
    "a list": json.dumps([BACKEND]),
    "a list in a mapping": json.dumps({"backends": [BACKEND]}),
    "a mapping by name": json.dumps({"a": {"volume_driver": LVM, "volume_group": "vg"}}),
    "a mapping of mappings": json.dumps({"backends": {"a": {"volume_driver": LVM, "volume_group": "vg"}}}),
    "YAML": f"volume_backend_name: a\nvolume_driver: {LVM}\nvolume_group: vg\n",
    "YAML in flow style": f"{{volume_backend_name: a, volume_driver: {LVM}, volume_group: vg}}",
    "oVirt's mapping": json.dumps({"name": "a", "driver_options": {"volume_driver": LVM, "volume_group": "vg"}}),
    "oVirt's list": json.dumps(
        {"name": "a", "driver_options": [{"name": "volume_driver", "value": LVM}], "driver_sensitive_options": [{"name": "volume_group", "value": "vg"}]}
    ),
    "Ember's JSON": json.dumps(EMBER),
    "Ember's variables in JSON": json.dumps({ember.BACKEND: EMBER}),
    "Ember's variables as text in JSON": json.dumps(VARIABLES),
    "an environment file": f"{ember.BACKEND}={json.dumps(EMBER)}\n",
    "an environment file of a shell": f"# a comment\nexport {ember.BACKEND}='{json.dumps(EMBER, indent=1)}' # more\nPATH=/bin\n",
    "an environment file in double quotes": f"{ember.BACKEND}={json.dumps(json.dumps(EMBER))}\n",
    "a Secret": json.dumps({"kind": "Secret", "metadata": {"name": "s"}, "data": {ember.BACKEND: base64.b64encode(json.dumps(EMBER).encode()).decode()}}),
    "a Secret in plain text": json.dumps({"kind": "Secret", "metadata": {"name": "s"}, "stringData": VARIABLES}),
    "a ConfigMap": json.dumps({"kind": "ConfigMap", "metadata": {"name": "s"}, "data": VARIABLES}),
    "a list of objects": json.dumps({"kind": "List", "items": [{"kind": "Secret", "metadata": {"name": "s"}, "stringData": VARIABLES}]}),
    "a Deployment": json.dumps({"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {"spec": {"containers": [{"env": [{"name": ember.BACKEND, "value": VARIABLES[ember.BACKEND]}]}]}}}}),
    "a CronJob": json.dumps({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"env": [{"name": ember.BACKEND, "value": VARIABLES[ember.BACKEND]}]}]}}}}}}),
    "a custom resource": json.dumps({"kind": "EmberStorageBackend", "metadata": {"name": "a"}, "spec": {"config": {"envVars": {ember.BACKEND: {"driver": "LVMVolume", "name": "", "driver__LVMVolume__volume_group": "vg", "driver__RBD__rbd_pool": "x"}}}}}),
}  # fmt: skip


@pytest.mark.parametrize("text", SAME.values(), ids=SAME.keys())
def test_every_form_of_a_back_end_becomes_the_same(text: str) -> None:
    (backend,) = convert(text).backends
    assert (backend.name, backend.driver, backend.options) == ("a", LVM, {"volume_group": "vg"})


BAD = {
    "empty": ("\n \n", "must not be empty"),
    "prose": ("Dear Sir,\n", "unknown kind of configuration"),
    "assignments of nobody": ("A=1\n", "unknown kind of configuration"),
    "our own": ("backends: {a: {driver: x.Y}}\n", "is already a configuration of csi-cinderlib"),
    "no YAML": ("a: [b\n", "supported: a cinder.conf"),
    "an alias of itself": ("a: &a [*a]\n", "supported: a cinder.conf"),
    "nested deeply": ("[" * 100_000, "supported: a cinder.conf"),
    "nested deeply in YAML": ("a: " + "[" * 500 + "]" * 500, "nested"),
    "two in one": (json.dumps({**EMBER, **BACKEND}), "may belong to Ember-CSI or cinderlib"),
    "no enabled back end": ("[DEFAULT]\ndebug = true\n[a]\nvolume_driver = x\n", "add enabled_backends = a"),
    "no volume service": ("[DEFAULT]\ndebug = true\n", "does not configure a volume service"),
    "a section that is missing": ("[DEFAULT]\nenabled_backends = lvm1\n[lvm]\nvolume_driver=x\n", "did you mean 'lvm'?"),
    "an assignment without a section": ("a = 1\n[DEFAULT]\nenabled_backends = a\n", "line 2: .* before the first"),
    "a key twice": ('{"driver": "a", "driver": "b"}', "supported: a cinder.conf"),
    "a template": (f"{ember.BACKEND}={{{{ config }}}}\n", "placeholders of a template"),
    "no JSON": (f"{ember.BACKEND}={{x}}\n", "line 1, column 2 is not valid JSON"),
    "no object": (f"{ember.BACKEND}=[1]\n", "must be a JSON object"),
    "no driver": (f'{ember.BACKEND}={{"name": "a"}}\n', "has no driver"),
    "no back end": ("X_CSI_EMBER_CONFIG={}\n", "has no X_CSI_BACKEND_CONFIG"),
    "an open quotation mark": (f"{ember.BACKEND}='x\n", "line 1: the value .* has no closing quotation mark"),
    "no assignment": ("CSI_MODE=all\nhello\n", "line 2 must be an assignment"),
    "no name": (json.dumps([{"volume_driver": LVM}]), "must have a volume_backend_name"),
    "a Secret that is elsewhere": (json.dumps({"kind": "Pod", "spec": {"containers": [{"env": [{"name": ember.BACKEND, "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}]}}), "refers to the Secret s, which is not in these files"),
    "no base64": (json.dumps({"kind": "Secret", "metadata": {"name": "s"}, "data": {ember.BACKEND: "!"}}), "is not base64 text"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "problem"), BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_said(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        read([File("FILE", text)], None)


@pytest.mark.parametrize(
    "text",
    [
        "[DEFAULT]\ncanary\n",
        "canary-alone\n[a]\n",
        "CSI_MODE=all\ncanary\n",
        'volume_driver: "canary\n',
        "volume_driver: *canary\n",
        "volume_driver: !canary x\n",
        f'{ember.BACKEND}={{"x": canary}}\n',
        '{"volume_driver": canary}',
    ],
)
def test_no_error_quotes_the_text(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read([File("FILE", text)], None)
    assert "canary" not in str(caught.value)


def test_files_of_two_products_are_not_mixed() -> None:
    with pytest.raises(InvalidRequest, match="cinder and ember"):
        read([File("a", CONF), File("b", SAME["an environment file"])], None)


def test_controller_and_nodes_with_the_same_variables_are_one_back_end() -> None:
    pod = {
        "kind": "Pod",
        "spec": {"containers": [{"env": [{"name": ember.BACKEND, "value": VARIABLES[ember.BACKEND]}]}]},
    }
    assert len(convert(json.dumps([pod, pod])).backends) == 1


def test_names_of_back_ends_and_drivers_may_be_references() -> None:
    text = CONF.replace("enabled_backends = a", "enabled_backends = $ours\nours = a\nkind = LVMVolumeDriver").replace(
        LVM, "$kind"
    )
    assert [backend.driver for backend in convert(text).backends] == [LVM]
    with pytest.raises(ConfigurationError, match="refers to theirs, which is not set"):
        convert(text.replace("$ours", "$theirs"))


def test_the_product_can_be_named() -> None:
    text = json.dumps({**EMBER, **BACKEND})
    assert read([File("a", text)], Product.CINDERLIB).product == "cinderlib"
    assert read([File("a", text)], Product.EMBER).product == "Ember-CSI"
    with pytest.raises(ConfigurationError):
        read([File("a", text)], Product.CINDER)


def test_references_that_grow_without_end_are_cut() -> None:
    lines = "".join(f"a{index} = $a{index + 1}$a{index + 1}\n" for index in range(24))
    text = CONF.replace("[a]", f"{lines}a24 = {'x' * 10}\n[a]") + "chap_password = $a0\n"
    tracemalloc.start()
    converted = convert(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "chap_password" not in converted.backends[0].options
    assert peak < 64 * 2**20
    assert _notes(converted, Verdict.FAILED, "chap_password")


def test_references_to_references_end() -> None:
    lines = "".join(f"a{index} = $a{index + 1}\n" for index in range(5000))
    converted = convert(CONF.replace("[a]", f"{lines}[a]") + "chap_password = $a0\n")
    assert _notes(converted, Verdict.FAILED, "chap_password")


def test_thousands_of_unknown_options_do_not_hide_the_others() -> None:
    """Similar names are looked for a few times only: that takes long."""
    text = CONF + "".join(f"volume_group{index:02} = x\n" for index in range(3000)) + "chap_password = $volume_group\n"
    converted = convert(text)
    assert converted.backends[0].options == {"volume_group": "vg", "chap_password": "vg"}
    suggested = [note for note in converted.notes if "did you mean" in note.reason]
    assert 0 < len(suggested) <= 50
    assert len([note for note in converted.notes if note.verdict is Verdict.FAILED]) == 3000


def test_a_back_end_in_default_keeps_its_driver_and_its_options() -> None:
    driver = "cinder.volume.drivers.nfs.NfsDriver"
    converted = convert(
        f"[DEFAULT]\nvolume_driver = {driver}\nnfs_shares_config = /x\nmy_ip = 192.0.2.1\ndebug = true\n"
    )
    assert [(backend.driver, backend.options) for backend in converted.backends] == [
        (driver, {"nfs_shares_config": "/x"})
    ]
    assert converted.cinder_defaults == {"my_ip": "192.0.2.1"}


def test_a_dropped_default_is_told_apart_from_a_mistake() -> None:
    converted = convert(CONF.replace("[a]", "transport_url = x\nvolume_group = y\nnobody = z\n[a]"))
    reasons = {note.item: note.reason for note in converted.notes}
    assert "message queue" in reasons["[DEFAULT] transport_url"]
    assert "from their own section" in reasons["[DEFAULT] volume_group"]
    assert reasons["[DEFAULT] nobody"] == "no driver reads it"


def test_one_back_end_that_cannot_be_converted_does_not_hide_the_others() -> None:
    text = (
        CONF.replace("enabled_backends = a", "enabled_backends = gone,a")
        + "[gone]\nvolume_driver = cinder.volume.drivers.sheepdog.SheepdogDriver\n"
    )
    converted = convert(text)
    assert [backend.name for backend in converted.backends] == ["a"]
    assert _notes(converted, Verdict.FAILED, "driver")[0].backend == "gone"


def test_names_that_are_taken_or_not_allowed_are_changed_and_reported() -> None:
    text = "[DEFAULT]\nenabled_backends = a b, a-b, ä\n" + "".join(
        f"[{name}]\nvolume_driver = {LVM}\n" for name in ("a b", "a-b", "ä")
    )
    converted = convert(text)
    assert [backend.name for backend in converted.backends] == ["a-b", "a-b-2", "backend"]
    assert len(_notes(converted, Verdict.TRANSLATED, "name")) == 3


def test_options_of_a_vendor_s_other_driver_are_kept() -> None:
    netapp = "cinder.volume.drivers.netapp.common.NetAppDriver"
    converted = convert(f"[DEFAULT]\nenabled_backends = n\n[n]\nvolume_driver = {netapp}\nnfs_mount_options = vers=4\n")
    assert converted.backends[0].options == {"nfs_mount_options": "vers=4"}


def test_ember_s_state_path_is_what_options_refer_to() -> None:
    text = json.dumps(
        {ember.BACKEND: {"driver": "LVMVolume", "volumes_dir": "$state_path/v"}, ember.EMBER: {"state_path": "/x"}}
    )
    assert convert(text).backends[0].options == {"volumes_dir": "/x/v"}
    assert convert(text.replace('state_path"', 'y"')).backends[0].options == {"volumes_dir": "/var/lib/ember-csi/v"}


def test_the_environment_of_the_process_is_read() -> None:
    source = ember.from_environment({**VARIABLES, "PATH": "/bin", "X_CSI_NEW": "1"})
    converted = conversion.convert(source)
    assert converted.backends[0].options == {"volume_group": "vg"}
    assert _notes(converted, Verdict.FAILED, "X_CSI_NEW")
    with pytest.raises(ConfigurationError, match="has no X_CSI_BACKEND_CONFIG"):
        ember.from_environment({"PATH": "/bin"})


@pytest.mark.parametrize("name", foreign.EMBER_VARIABLES)
def test_every_variable_of_ember_csi_is_known(name: str) -> None:
    notes = conversion.convert(ember.from_environment({**VARIABLES, name: VARIABLES.get(name, "{}")})).notes
    assert not [note for note in notes if "is not a variable" in note.reason]


def _notes(converted: Conversion, verdict: Verdict, item: str) -> list[Note]:
    return [note for note in converted.notes if (note.verdict, note.item) == (verdict, item)]


def test_options_of_default_that_drivers_read_are_cinder_s(runtime: object) -> None:
    """Cinder knows the options that are carried over, and drivers' sections have none of them."""
    from oslo_config import cfg

    from csi_cinderlib.conversion.cinder_options import IMPLIED, READ_BY_DRIVERS

    del runtime
    defaults = {name: entry["opt"].default for name, entry in cfg.CONF._opts.items()}
    assert defaults.keys() >= READ_BY_DRIVERS | IMPLIED.keys()
    assert all(defaults[name] == value for name, value in IMPLIED.items() if value is not None)
    assert not READ_BY_DRIVERS & {option.dest for option in cinder.options_of(LVM)}


def test_a_new_name_of_a_back_end_is_told() -> None:
    done = convert(json.dumps([{**BACKEND, "volume_backend_name": "a b"}, BACKEND, BACKEND]))
    assert [backend.name for backend in done.backends] == ["a-b", "a", "a-2"]
    told = [(note.backend, note.reason) for note in done.notes if note.item == "name"]
    assert told == [
        ("a-b", "'a b' is invalid or already used; the back end is named 'a-b'"),
        ("a-2", "'a' is invalid or already used; the back end is named 'a-2'"),
    ]


@pytest.mark.parametrize(("path", "is_told"), [("lvm.conf", True), ("/etc/lvm.conf", False), ("None", False)])
def test_a_relative_path_which_would_start_elsewhere_is_told(path: str, is_told: bool) -> None:
    done = convert(json.dumps({**BACKEND, "lvm_conf_file": path}))
    steps = report.next_steps(done, "config", "s", "new.yaml", "")
    assert any("absolute paths" in step and "a.lvm_conf_file" in step for step in steps) is is_told


def test_what_a_driver_of_others_may_inherit_is_left_to_its_user() -> None:
    done = convert(
        "[DEFAULT]\nenabled_backends = a\n[backend_defaults]\nmine = SECRET\nset = 1\nbackup_workers = 2\n"
        "use_chap_auth = true\n[a]\nvolume_driver = example.Driver\nset = 2\n"
    )
    assert [backend.options for backend in done.backends] == [{"set": "2", "use_chap_auth": "true"}]
    told = [note for note in done.notes if note.item.startswith("[backend_defaults]")]
    assert [(note.backend, note.item, note.verdict) for note in told] == [
        ("a", "[backend_defaults] mine", Verdict.FAILED)
    ]
    assert report.is_incomplete(done)
    assert "SECRET" not in report.text(done, [])


@pytest.mark.parametrize(
    "value", [{"env": "HOME"}, [{"file": "/etc/shadow"}], [{"a": {"env": "HOME"}}], {"env": "HOME", "file": "/x"}]
)
def test_no_value_becomes_a_reference_to_a_file_or_variable(value: object) -> None:
    done = convert(json.dumps({"volume_driver": "example.Driver", "volume_backend_name": "a", "odd": value, "b": "c"}))
    assert [backend.options for backend in done.backends] == [{"b": "c"}]
    assert ("a", "odd", Verdict.FAILED) in [(note.backend, note.item, note.verdict) for note in done.notes]
