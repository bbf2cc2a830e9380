from .api.comparison import compare as compare
from .api.evaluation import Evaluation as Evaluation
from .api.evaluation import evaluate as evaluate
from .api.networks import Network as Network
from .api.networks import load_network as load_network
from .api.runs import Run as Run
from .api.runs import ablate as ablate
from .api.runs import run as run
from .api.runs import runs as runs
from .api.splits import LoadedSplit as LoadedSplit
from .api.splits import load_split as load_split
from .errors import BenchError as BenchError
from .statistics.intervals import Interval as Interval
from .statistics.significance import Comparison as Comparison

__version__: str
