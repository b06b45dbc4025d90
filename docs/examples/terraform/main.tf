# Deploys the stack from a template that `scripts/package BUCKET` published. Terraform follows the CloudFormation stack as
# a whole: `terraform plan` shows changed parameters, and CloudFormation knows the resources.
terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "template_url" {
  description = "What scripts/package printed: https://<bucket>.s3.<region>.amazonaws.com/agent-stack/template.yaml"
  type        = string
}

variable "agent_token_parameter" {
  description = "Name of the SSM parameter (SecureString) with an agent token of the cluster. Terraform never sees the token."
  type        = string
  default     = "/buildkite/agent-token"
}

resource "aws_ssm_parameter" "classes" {
  name  = "/agent-stack/ci/classes"
  type  = "String"
  value = file("${path.module}/../classes/sizes.json")
}

resource "aws_cloudformation_stack" "ci" {
  name         = "ci"
  template_url = var.template_url
  capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]

  parameters = {
    AgentTokenParameter = var.agent_token_parameter
    StackKey            = "ci"
    Queues              = "default,deploy"
    ClassesParameter    = aws_ssm_parameter.classes.name
    MaxInstances        = "50"
    Packages            = "git,docker"
    DailySpendAlarmUsd  = "50"
  }
}

output "problems" {
  description = "Classes and subnets that the deployment found wrong."
  value       = aws_cloudformation_stack.ci.outputs["Problems"]
}

output "alarm_topic" {
  value = aws_cloudformation_stack.ci.outputs["AlarmTopic"]
}
