import math

import markup
import numpy as np
import pytest
import rundirs

from flame.errors import ConfigError, ExtensionError, RunError
from flame.lab.result import Result


@pytest.fixture
def result(tmp_path):
    return Result(rundirs.make(tmp_path / "run", sites=3, rounds=5))


def test_series_are_by_worker_in_order_of_rounds(result):
    everyone = result.series("test-accuracy")
    assert sorted(everyone) == ["top-aggregator/0", "trainer/0", "trainer/1", "trainer/2"]
    assert [at for at, _ in everyone["trainer/1"]] == [1, 2, 3, 4, 5]
    assert list(result.series("test-accuracy", role="top-aggregator")) == ["top-aggregator/0"]
    assert result.series("test-accuracy", role="nobody") == {}


def test_final_is_the_aggregators_last_value_or_the_mean_of_the_sites(result):
    top = result.series("test-loss")["top-aggregator/0"]
    assert result.final("test-loss") == top[-1][1]
    last = [curve[-1][1] for curve in result.series("train-loss").values()]
    assert math.isclose(result.final("train-loss"), sum(last) / 3)


def test_an_unknown_metric_is_answered_with_the_known_ones(result):
    for ask in (result.series, result.final, result.plot):
        with pytest.raises(ExtensionError, match="no metric named 'acc'; there are: test-accuracy, test-loss"):
            ask("acc")


def test_metrics_are_records(result):
    first = result.metrics[0]
    assert (first.round, first.role) == (1, "trainer") and set(first.values) == {
        "train-loss",
        "test-accuracy",
    }
    assert len(result.metrics) == 5 * 4


def test_a_result_introduces_itself(result):
    assert result.status == "completed"
    assert "completed, 5 rounds, 4 workers" in repr(result) and "test-accuracy 0.6" in repr(result)
    markup.read(result._repr_html_())


def test_a_plot_shows_and_saves_itself(result, tmp_path):
    plot = result.plot("test-accuracy")
    assert [chart.title for chart in plot.charts] == ["test-accuracy"]
    markup.read(plot._repr_html_())
    markup.drawing(plot._repr_svg_())
    markup.drawing(plot.save(tmp_path / "a.svg").read_text(encoding="utf-8"))
    markup.read(plot.save(str(tmp_path / "a.html")).read_text(encoding="utf-8"))
    with pytest.raises(ConfigError, match=r"neither \.svg nor \.html"):
        plot.save(tmp_path / "a.png")
    assert [chart.title for chart in result.plot().charts] == ["test-accuracy", "test-loss", "train-loss"]
    assert repr(plot) == "Plot(test-accuracy)"


def test_a_run_without_metrics_plots_nothing_and_does_not_fall(tmp_path):
    empty = Result(tmp_path)
    assert repr(empty.plot()) == "Plot()" and "unfinished" in repr(empty)
    markup.drawing(empty.plot()._repr_svg_())
    with pytest.raises(RunError, match=r"holds no model\.safetensors"):
        empty.weights()


def test_weights_are_the_final_model(result):
    # The file's layout: the length of a JSON header, the header, the buffer (safetensors).
    header = b'{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'
    buffer = np.arange(6, dtype="<f4").tobytes()
    (result.dir / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + buffer)
    array = result.weights().arrays()["a"]
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_job_without_rounds_names_none(tmp_path):
    assert ": completed, 5 workers, " in repr(Result(rundirs.without_rounds(tmp_path / "run")))
