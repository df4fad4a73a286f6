"""Slow and obvious versions of what the suite computes, in plain Python."""

import math


def lambda_returns(rewards, discounts, values, lambda_):
  """Each lambda-return from its definition: a mixture of n-step returns.

  The n-step return from step t sums n discounted rewards and bootstraps from
  the value of the state that the last of them leads to. All but the longest
  are weighted (1 - lambda) lambda^(n - 1), the longest by what remains.

  Args:
    rewards: list of T numbers.
    discounts: list of T numbers.
    values: list of T numbers, values[t] of the state that step t leads to.
    lambda_: mixing.

  Returns:
    A list of T numbers.
  """
  num_steps = len(rewards)
  returns = []
  for start in range(num_steps):
    longest = num_steps - start
    total = 0.0
    for n in range(1, longest + 1):
      n_step, factor = 0.0, 1.0
      for t in range(start, start + n):
        n_step += factor * rewards[t]
        factor *= discounts[t]
      n_step += factor * values[start + n - 1]
      weight = lambda_ ** (n - 1) * (1 if n == longest else 1 - lambda_)
      total += weight * n_step
    returns.append(total)
  return returns


def vtrace(
  rewards,
  discounts,
  values,
  ratios,
  lambda_,
  clip_rho_threshold,
  clip_c_threshold,
):
  """V-trace targets and advantages from their definition, a sum for each step.

      vs_s = v_s + sum_t (prod_{i<t} discount_i c_i) delta_t,
      advantage_t = r_t + discount_t ((1 - lambda) v_{t+1} + lambda vs_{t+1})
                    - v_t,

  with the last value in place of a target where nothing follows.

  Args:
    rewards: list of T numbers.
    discounts: list of T numbers.
    values: list of T + 1 numbers, values[t] of the state before step t.
    ratios: list of T importance ratios.
    lambda_: mixing.
    clip_rho_threshold: limit of the ratio in the errors.
    clip_c_threshold: limit of the ratio in the trace.

  Returns:
    Lists of T targets and T advantages.
  """
  num_steps = len(rewards)
  targets = []
  for start in range(num_steps):
    target, factor = values[start], 1.0
    for t in range(start, num_steps):
      error = rewards[t] + discounts[t] * values[t + 1] - values[t]
      target += factor * min(clip_rho_threshold, ratios[t]) * error
      factor *= discounts[t] * lambda_ * min(clip_c_threshold, ratios[t])
    targets.append(target)
  advantages = []
  for t, value in enumerate(values[1:]):
    follows = targets[t + 1] if t + 1 < num_steps else value
    mixed = (1 - lambda_) * value + lambda_ * follows
    advantages.append(rewards[t] + discounts[t] * mixed - values[t])
  return targets, advantages


def softmax(logits):
  """Probabilities of one list of logits."""
  highest = max(logits)
  unnormalized = [math.exp(logit - highest) for logit in logits]
  return [u / sum(unnormalized) for u in unnormalized]


def entropy(probabilities):
  """Shannon entropy of one list of probabilities, in nats."""
  return -sum(p * math.log(p) for p in probabilities if p > 0)


def disagreement(logits):
  """H[mean q] - mean H[q] of a list of members' lists of logits."""
  members = [softmax(member) for member in logits]
  mean = [sum(column) / len(members) for column in zip(*members)]
  return entropy(mean) - sum(map(entropy, members)) / len(members)


def finite_horizon_values(
  successor, reward, weights, num_steps, gamma, lambda_, num_actions, start
):
  """Fixed point of Peng's Q(lambda) under uniformly random acting_policy.

  With lambda = 0 and one stream these are the optimal values:

      Q_r(s, a) = reward_r(s') + gamma * ((1 - lambda) * Q_r(s', a*)
                                          + lambda * mean_a' Q_r(s', a')),

  where a* maximises the weighted sum of the streams and nothing follows the
  last step. Solved backwards from there, along every sequence of actions.

  Args:
    successor: state, action -> state.
    reward: state -> list of the R streams' rewards for entering it.
    weights: list of the R streams' weights.
    num_steps: until the end.
    gamma: discount per step.
    lambda_: mixing.
    num_actions: of each state.
    start: the first state.

  Returns:
    A dict from (state, action) to a list of R values. States must be told
    apart by the time at which they are reached.
  """
  table = {}

  def solve(state, steps_left):
    for action in range(num_actions):
      following = successor(state, action)
      values = list(reward(following))
      if steps_left > 1:
        solve(following, steps_left - 1)
        options = [table[following, a] for a in range(num_actions)]
        best = max(
          options, key=lambda q: sum(w * x for w, x in zip(weights, q))
        )
        for r in range(len(values)):
          mean = sum(option[r] for option in options) / num_actions
          values[r] += gamma * ((1 - lambda_) * best[r] + lambda_ * mean)
      table[state, action] = values

  solve(start, num_steps)
  return table


def reachable(mdp, num_steps):
  """Whether each state can be entered within so many steps of the start."""
  reached = mdp.initial > 0
  for _ in range(num_steps):
    entered = mdp.transitions[reached].sum(axis=(0, 1)) > 0
    reached = reached | entered
  return reached
