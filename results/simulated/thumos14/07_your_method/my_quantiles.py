from wtal_lib.method.pseudo_labels import Labels


def quantiles(student, evidence, config, shares):
    (score,) = evidence.values()
    high, low = score > score.quantile(0.9, dim=0), score < score.quantile(0.5, dim=0)
    return Labels(target=high.float(), keep=high | low)
