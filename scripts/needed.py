"""What Linnet's roles have for reasons that calls on the local stack do not show, each with the page of AWS that says why."""

from __future__ import annotations

from typing import NamedTuple

_AWS = "https://docs.aws.amazon.com/"
_OPERATIONS = _AWS + "sagemaker/latest/dg/api-permissions-reference.html"
_RETRY = _AWS + "step-functions/latest/dg/concepts-error-handling.html"


class Need(NamedTuple):
    """What a role must have besides what its calls show.

    `roles` matches logical ids. `when` names an action: a role that has it must have every action of `actions` on `resource`;
    in `resource`, `{same}` is the resource of that grant and `{execution}` the executions of that state machine. Without
    `when`, the roles have it for the reason that `why` gives, and nothing is asked of others.
    """

    roles: str
    actions: tuple[str, ...]
    resource: str
    why: str
    page: str
    when: str = ""


def _waits(job: str, rule: str) -> tuple[Need, Need]:
    """Return what `.sync` asks for: the job's state and its end, and the rule that tells Step Functions about it."""
    page, when = _AWS + "step-functions/latest/dg/sagemaker-iam.html", f"sagemaker:Create{job}"
    followed = (f"sagemaker:Describe{job}", f"sagemaker:Stop{job}", "sagemaker:ListTags")
    events = ("events:PutTargets", "events:PutRule", "events:DescribeRule")
    where = (
        "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule/StepFunctionsGetEventsForSageMaker" + rule
    )
    return (
        Need("Machine", followed, "{same}", "A task that waits for its job (.sync) follows and stops it.", page, when),
        Need("Machine", events, where, "A task that waits for its job (.sync) is woken by this rule.", page, when),
    )


_KEY = ("kms:GenerateDataKey", "kms:Decrypt")
_MAP = _AWS + "step-functions/latest/dg/iam-policies-eg-dist-map.html"
_NESTED = _AWS + "step-functions/latest/dg/stepfunctions-iam.html"
_SCALING = _AWS + "autoscaling/application/userguide/security_iam_id-based-policy-examples.html"
_ARN = "arn:${AWS::Partition}:%s:${AWS::Region}:${AWS::AccountId}:"

NEEDED = (
    Need(
        "Function", ("s3:ListBucket",), "${DataBucket.Arn}",
        "S3 says that an object is not there only to those who may list the bucket, to others that it is forbidden.",
        _AWS + "AmazonS3/latest/API/API_GetObject.html", "s3:GetObject",
    ),
    Need(
        "", ("kms:Decrypt",), "${DataKey.Arn}", "Objects of the bucket are encrypted with the key.",
        _AWS + "AmazonS3/latest/userguide/UsingKMSEncryption.html", "s3:GetObject",
    ),
    Need(
        "", _KEY, "${DataKey.Arn}", "Objects of the bucket are encrypted with the key; parts of a large one are put together.",
        _AWS + "AmazonS3/latest/userguide/mpuAndPermissions.html", "s3:PutObject",
    ),
    Need(
        "", _KEY, "${DataKey.Arn}", "Messages of the topics are encrypted with the key.",
        _AWS + "sns/latest/dg/sns-key-management.html", "sns:Publish",
    ),
    Need(
        "", _KEY, "${DataKey.Arn}", "Messages of the queue are encrypted with the key.",
        _AWS + "AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html", "sqs:SendMessage",
    ),
    Need(
        "", ("kms:CreateGrant",), "${DataKey.Arn}", "An endpoint whose volumes are encrypted with the key.",
        _AWS + "sagemaker/latest/dg/api-permissions-reference.html", "sagemaker:CreateEndpoint",
    ),
    Need(
        "", ("sagemaker:DescribeEndpoint", "sagemaker:UpdateEndpointWeightsAndCapacities"),
        _ARN % "sagemaker" + "endpoint/${AWS::StackName}-*",
        "Who registers a variant for scaling must be allowed to scale it.", _SCALING,
        "application-autoscaling:RegisterScalableTarget",
    ),
    Need(
        "", ("cloudwatch:DescribeAlarms", "cloudwatch:PutMetricAlarm", "cloudwatch:DeleteAlarms"),
        _ARN % "cloudwatch" + "alarm:TargetTracking-endpoint/${AWS::StackName}-*",
        "Who puts a scaling policy must be allowed to keep its alarms.", _SCALING,
        "application-autoscaling:PutScalingPolicy",
    ),
    *_waits("TrainingJob", "TrainingJobsRule"),
    *_waits("ProcessingJob", "ProcessingJobsRule"),
    *_waits("TransformJob", "TransformJobsRule"),
    *_waits("HyperParameterTuningJob", "TuningJobsRule"),
    Need(
        "(Release|Rollback)Machine", ("states:DescribeExecution", "states:StopExecution"), "{execution}",
        "A task that waits for a child (.sync) follows and stops it.", _NESTED, "states:StartExecution",
    ),
    Need(
        "(Release|Rollback)Machine", ("events:PutTargets", "events:PutRule", "events:DescribeRule"),
        _ARN % "events" + "rule/StepFunctionsGetEventsForStepFunctionsExecutionRule",
        "A task that waits for a child (.sync) is woken by this rule.", _NESTED, "states:StartExecution",
    ),
    Need(
        "MonitorMachine", ("states:DescribeExecution", "states:StopExecution"), "{execution}",
        "A Distributed Map follows and stops its children.", _MAP, "states:StartExecution",
    ),
    Need(
        "MonitorMachine", ("states:RedriveExecution",), _ARN % "states" + "execution:${AWS::StackName}-monitor/*",
        "A Distributed Map can be redriven.", _MAP,
    ),
    Need(
        "FunctionRole", ("sqs:SendMessage",), "${DeadLetters.Arn}",
        "What a function could not handle goes to its failure destination with the function's own role.",
        _AWS + "lambda/latest/dg/invocation-async-retain-records.html",
    ),
    Need(
        "MonitorTickRole", ("sqs:SendMessage",), "${DeadLetters.Arn}",
        "What the schedule could not start goes to its dead-letter queue with the schedule's role.",
        _AWS + "scheduler/latest/UserGuide/configuring-schedule-dlq.html",
    ),
    # The containers' role is SageMaker's: the local stack makes its calls without a look at it.
    Need(
        "SageMakerRole",
        (
            "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:ListBucket", "logs:CreateLogGroup",
            "logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams", "cloudwatch:PutMetricData",
            "ecr:GetAuthorizationToken",
            "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage",
        ),
        "", "Jobs and endpoints read and write data, pull images, write logs and metrics.",
        _AWS + "sagemaker/latest/dg/sagemaker-roles.html",
    ),
    Need(
        "SageMakerRole", ("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:DescribeKey", "kms:CreateGrant"),
        "${DataKey.Arn}", "What is written to and mounted from encrypted volumes and objects.",
        _AWS + "kms/latest/developerguide/key-policy-default.html",
    ),
    Need(
        "SageMakerRole", ("cloudwatch:DescribeAlarms",), "", "SageMaker rolls a deployment back by its alarms.",
        _AWS + "sagemaker/latest/dg/deployment-guardrails-configuration.html",
    ),
    Need(
        "MonitorTickRole", ("states:StartExecution",), "", "The schedule starts the monitors; tests start them themselves.",
        _AWS + "scheduler/latest/UserGuide/setting-up.html",
    ),
    # Roads of Linnet's own that no test on the stack plays; the contract tests play them on doubles of AWS.
    Need(
        "(CloseRun|OnWorkflowEnded|ReconcileModels)Function",
        (
            "sagemaker:DescribeTrainingJob", "sagemaker:DescribeProcessingJob", "sagemaker:DescribeTransformJob",
            "sagemaker:DescribeHyperParameterTuningJob", "sagemaker:StopTrainingJob", "sagemaker:StopProcessingJob",
            "sagemaker:StopTransformJob", "sagemaker:StopHyperParameterTuningJob",
            "sagemaker:ListTrainingJobsForHyperParameterTuningJob",
        ),
        "", "Jobs of a run that ended badly are looked at and stopped (F33).", _OPERATIONS,
    ),
    Need(
        "RegisterCandidateFunction",
        (
            "sagemaker:DescribeProcessingJob", "sagemaker:DescribeTrainingJob",
            "sagemaker:ListTrainingJobsForHyperParameterTuningJob",
        ),
        "", "What a run was billed counts against a priced budget.", _OPERATIONS,
    ),
    Need(
        "(StartRollout|ConcludeRelease)Function",
        (
            "application-autoscaling:RegisterScalableTarget", "application-autoscaling:DeregisterScalableTarget",
            "application-autoscaling:PutScalingPolicy", "application-autoscaling:DescribeScalingPolicies",
            "dynamodb:UpdateItem", "dynamodb:DeleteItem", "sagemaker:DescribeEndpointConfig",
        ),
        "", "A variant that people scale leaves scaling before an update and joins again (AS-07).", _SCALING,
    ),
    Need(
        "StartRolloutFunction", ("sagemaker:DeleteEndpoint", "sagemaker:DescribeModel"), "",
        "A first endpoint that failed is made anew.", _OPERATIONS,
    ),
    Need(
        "ReconcileModelsFunction",
        (
            "cloudwatch:DeleteAlarms", "cloudwatch:PutMetricData", "dynamodb:UpdateItem", "s3:GetObject", "s3:GetObjectVersion",
            "s3:PutObject", "sagemaker:DeleteEndpointConfig", "sagemaker:DeleteModel", "sagemaker:DescribeEndpoint",
            "sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel", "sagemaker:DescribeModelPackage",
            "states:SendTaskSuccess", "states:StartExecution", "states:DescribeExecution",
        ),
        "", "It does what an event would have caused that was dropped after its last retry, and takes old things away.",
        _AWS + "eventbridge/latest/userguide/eb-rule-retry-policy.html",
    ),
    Need(
        "(AskOffboarding|RequestDecision|OnPackageStatus)Function", ("states:SendTaskSuccess",), "*",
        "A question that was answered before it could be asked is answered at once.",
        _AWS + "step-functions/latest/dg/connect-to-resource.html",
    ),
    Need(
        "(AskOffboarding|EvaluateCandidate|RequestDecision|PlanEvaluation)Function",
        ("dynamodb:GetItem", "dynamodb:UpdateItem"), "${Ledger.Arn}",
        "A task that is tried again finds what its first attempt wrote.", _RETRY,
    ),
    Need(
        "Plan(Evaluation|Processing|Training)Function",
        ("sagemaker:DescribeTrial", "sagemaker:DescribeModel", "sagemaker:CreateTrial", "sagemaker:AddTags"), "",
        "A task that is tried again finds what its first attempt made; whichever plan comes first makes the trial.", _RETRY,
    ),
    Need(
        "(TakeSlot|CloseRun|RegisterCandidate|OnWorkflowEnded|DecideCandidate|OnboardModel)Function",
        ("states:StartExecution",), "",
        "What waited for a slot, a word or a changed spec is started.", _NESTED,
    ),
    Need(
        "(TakeSlot|CloseBatch|DecideCandidate|OnPackageStatus)Function", ("sns:Publish",), "${Topic}",
        "People are told what needs them.",
        _AWS + "sns/latest/dg/sns-access-policy-language-api-permissions-reference.html",
    ),
    Need(
        "MonitorWindowFunction", ("sns:Publish",), "${ComplianceTopic}", "Bias is told to those who answer for it (MO-07).",
        _AWS + "sns/latest/dg/sns-access-policy-language-api-permissions-reference.html",
    ),
    Need(
        "TakeLeaseFunction", ("states:DescribeExecution",), "", "Whether the owner of an old lease still runs.", _NESTED,
    ),
    Need(
        "(DecideCandidate|OnWorkflowEnded)Function",
        ("dynamodb:Query", "cloudwatch:DeleteAlarms", "cloudwatch:PutMetricData"), "",
        "A word about a run, and a release that died on the way, are recorded and cleaned up after.", _NESTED,
    ),
    Need(
        "RemoveModelFunction",
        (
            "sagemaker:DeleteEndpoint", "sagemaker:DeleteModel", "sagemaker:DeleteModelPackage",
            "sagemaker:DeleteModelPackageGroup", "sagemaker:DescribeTrial", "sagemaker:DeleteTrial",
            "sagemaker:DeleteTrialComponent", "sagemaker:DisassociateTrialComponent",
        ),
        "", "A model that was trained and released leaves all of these behind.", _OPERATIONS,
    ),
    Need(
        "(MonitorWindow|OnSignal|PrepareData|WatchChampions|ReadSpec)Function", ("s3:GetObject", "s3:GetObjectVersion"),
        "${DataBucket.Arn}/",
        "Data sets compared on demand, labelled capture, the watch over champions, a foreign baseline, the list of a closed "
        "batch against which a late event is held (F1, F4).",
        _AWS + "AmazonS3/latest/API/API_GetObject.html",
    ),
    Need(
        "Function", ("s3:GetObject", "s3:PutObject"), "${DataBucket.Arn}/quarantine/*",
        "Input that can never be processed is kept once (F6).", _AWS + "AmazonS3/latest/API/API_HeadObject.html",
    ),
    Need(
        "(PrepareRelease|DecideCandidate)Function", ("sagemaker:DescribeModelPackage",), "",
        "An event is a claim: the registry is read again.", _OPERATIONS,
    ),
)  # fmt: skip
