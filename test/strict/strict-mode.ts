import recommendedFlags from 'aws-cdk-lib/recommended-feature-flags.json';

// Imported before anything that makes an App: what the CLI would hand over, with every finding of the bundled
// CloudFormation rules being an error.
delete process.env.CDK_VALIDATION;
process.env.CDK_CONTEXT_JSON = JSON.stringify({ ...recommendedFlags, '@aws-cdk/core:validateAgainstDefaultRules': true });
