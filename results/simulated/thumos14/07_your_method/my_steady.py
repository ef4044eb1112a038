def steady(output, mask, y):
    both = mask[:, 1:] & mask[:, :-1]
    change = output.attention.diff(dim=1).square() * both
    return change.sum() / both.sum().clamp(min=1)
