// The styles of the components that the page of API keys uses besides; see ../../../styles.
import "@mantine/core/styles/InlineInput.css";
import "@mantine/core/styles/Checkbox.css";
import "@mantine/core/styles/Fieldset.css";
import "@mantine/core/styles/Table.css";
