"""scikit-learn's own checks of DANN, CADA, Deep CORAL, MCC, SAFN, SWD and AGRA."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from adafer.rivals import (
    AGRAClassifier,
    CADAClassifier,
    DANNClassifier,
    DeepCORALClassifier,
    MCCClassifier,
    SAFNClassifier,
    SWDClassifier,
)

TRAINING = {"epochs": 8, "learning_rate": 0.02, "random_state": 0, "device": "cpu"}


@parametrize_with_checks(
    [
        DANNClassifier(**TRAINING),
        CADAClassifier(**TRAINING),
        DeepCORALClassifier(**TRAINING),
        MCCClassifier(**TRAINING),
        SAFNClassifier(**TRAINING),
        SWDClassifier(**TRAINING),
        AGRAClassifier(**TRAINING, node_units=16),
    ]
)
def test_scikit_learns_own_checks_pass(estimator, check):
    check(estimator)
